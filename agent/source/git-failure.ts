import { MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { Refused } from "../executor/executor.ts";

/** The remote has no such ref or object: what was asked for, not the mirror, is wrong. */
export class NoSuchObject extends MillraceError {
  constructor(said: string) {
    super("not_found", said);
  }
}

/** By what git says on its standard error in the C locale; the first that matches decides. */
const meanings: readonly (readonly [RegExp, (said: string) => MillraceError])[] = [
  [/couldn't find remote ref|not our ref|unadvertised object|no such remote ref/i, (said) => new NoSuchObject(said)],
  [
    /authentication failed|could not read (username|password)|terminal prompts disabled|error: 40[13]\b|permission denied|access denied/i,
    (said) =>
      new Refused(
        `the repository does not let us in (${said}): its project needs a secret that opens it, or another value of the one it has`,
      ),
  ],
  [
    /repository '.*' not found|does not appear to be a git repository|error: 404\b/i,
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
    /host key verification failed|host identification has changed/i,
    (said) => new Refused(`its host is another one than before (${said})`),
  ],
  [/transport '.*' not allowed|dubious ownership/i, (said) => new Refused(`this agent may not read it (${said})`)],
  [
    /could not resolve|failed to connect|couldn't connect|connection (refused|reset|timed out|closed)|unable to access|early eof|rpc failed|hung up|operation too slow|timed out|network is unreachable|no route to host|unexpected disconnect|could not read from remote/i,
    (said) => new MillraceError("unavailable", `the repository cannot be reached: ${said}`),
  ],
];

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
  if (meaning) return meaning[1](text);
  return new MillraceError("data_loss", `git ${command} ended with ${status}${text === "" ? "" : `: ${text}`}`);
}

/** What a remote says must not steer a terminal. */
function printable(text: string): string {
  return text.replace(/\p{C}+/gu, " ");
}
