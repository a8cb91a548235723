import { MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { Refused } from "../executor/executor.ts";

/** The remote has no such ref or object: what was asked for, not the mirror, is wrong. */
export class NoSuchObject extends MillraceError {
  constructor(said: string) {
    super("not_found", said);
  }
}

/** By what git says on its standard error in the C locale; the first that matches decides. The text is for a person. */
const meanings: readonly (readonly [RegExp, (text: string, said: string) => MillraceError])[] = [
  [
    /host key verification failed|host identification has changed/i,
    (text, said) => new Refused(hostKeyProblem(text, said)),
  ],
  [
    /^load key .*: (error in libcrypto|invalid format)/im,
    () => new Refused("ssh cannot read the private key that opens the repository: is it whole, and unchanged?"),
  ],
  [
    /\bssh: (command )?not found/i,
    () => new MillraceError("unavailable", "this agent has no program ssh (openssh-client)"),
  ],
  [/couldn't find remote ref|not our ref|unadvertised object|no such remote ref/i, (said) => new NoSuchObject(said)],
  [
    /authentication failed|could not read (username|password)|terminal prompts disabled|error: 40[13]\b|permission denied|access denied/i,
    (said) =>
      new Refused(
        `the repository does not let us in (${said}): its project needs a secret that opens it, or another value of the one it has`,
      ),
  ],
  [
    /repository '.*' not found|error: repository not found|could not be found or you don't have permission|does not appear to be a git repository|error: 404\b/i,
    (said) => new Refused(`there is no repository to be seen (${said}): look at its address, or its project's secret`),
  ],
  [
    /error: 30[12378]\b|redirect/i,
    (said) =>
      new Refused(
        `it has moved, and credentials are not taken along (${said}): give its project the address it leads to`,
      ),
  ],
  [
    /dumb http transport does not support/i,
    () =>
      new Refused(
        "its server only hands out files (git's dumb protocol), and an import needs git's smart one: let `git http-backend` or a git server answer there",
      ),
  ],
  [/transport '.*' not allowed|dubious ownership/i, (said) => new Refused(`this agent may not read it (${said})`)],
  [
    /could not resolve|failed to connect|couldn't connect|connection (refused|reset|timed out|closed)|unable to access|early eof|rpc failed|hung up|operation too slow|timed out|network is unreachable|no route to host|unexpected disconnect|could not read from remote/i,
    (said) => new MillraceError("unavailable", `the repository cannot be reached: ${said}`),
  ],
];

/** What is the matter with the key that an SSH server has shown, and what to do about it. */
function hostKeyProblem(text: string, said: string): string {
  const [, named] = /^No \S+ host key is known for (\S+) and/im.exec(said) ?? [];
  const [, type, print] = /fingerprint for the (\S+) key sent by the remote host is\s+(\S+?)\.?\s/i.exec(said) ?? [];
  const [, host, port] = /^\[([^\]]+)\]:(\d+)$/.exec(named ?? "") ?? [undefined, named ?? "HOST", "22"];
  const scan = printable(`ssh-keyscan ${port === "22" ? "" : `-p ${port} `}${host}`);
  const todo = `\`millrace project set PROJECT --known-hosts FILE\` takes the keys that its owner publishes; \`${scan}\` prints those that it shows, to be compared`;
  if (named !== undefined) return `nobody has said which key its host ${printable(named)} has: ${todo}`;
  if (print !== undefined) {
    return `its host shows another key than the known one (${printable(`${type} ${print}`)}): somebody may stand in between, or it has a new key. If its owner says so: ${todo}`;
  }
  return `the key of its host is not to be believed (${text}): ${todo}`;
}

/** Git's words for it, as Node's: what is said of a full disk is found by this code. */
function diskFull(said: string): MillraceError {
  const cause = Object.assign(new Error(said), { code: "ENOSPC" });
  return new MillraceError("resource_exhausted", said, { cause });
}

/** Commands that speak to the remote; all others know the mirror alone. */
const remoteCommands: ReadonlySet<string> = new Set(["ls-remote", "fetch"]);

/**
 * What it means that git has failed: `Refused` for what no agent could do, `not_found` for what the remote does not have,
 * `unavailable` for a remote that cannot be reached. Everything else is `data_loss`: most likely the mirror is damaged.
 * @param said what git printed on its standard error, which may be anything that the remote says
 */
export function describeGitFailure(command: string, said: string, status: string): MillraceError {
  const lines = said
    .split(/[\r\n]+/)
    .filter((line) => /^(fatal|error|remote|ssh): /i.test(line) || /denied|failed/i.test(line))
    .filter((line) => !/askpass/i.test(line));
  const text = printable((lines.length > 0 ? lines.join("; ") : said.trim()).slice(-limits.gitMessageChars));
  if (/no space left on device/i.test(said)) return diskFull(text);
  const meaning = remoteCommands.has(command) && meanings.find(([pattern]) => pattern.test(said));
  if (meaning) return meaning[1](text, said);
  return new MillraceError("data_loss", `git ${command} ended with ${status}${text === "" ? "" : `: ${text}`}`);
}

/** What a remote says must not steer a terminal. */
function printable(text: string): string {
  return text.replace(/\p{C}+/gu, " ");
}
