import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { findTool } from "../tools/probe-tool.ts";
import { describeGitFailure } from "./git-failure.ts";

/** The machine's git, which is told nothing by the machine's or a user's settings and starts nothing of a repository's. */
export interface Git {
  /**
   * Runs it to its end and gives what it printed. Throws what its failure means, see `describeGitFailure`, and
   * `out_of_range` when it prints more than `limits.gitOutputBytes`.
   */
  run(args: readonly string[], options: GitOptions): Promise<Buffer>;
  /** Starts it; it ends by the signal, or by itself. */
  start(args: readonly string[], options: GitOptions): GitProcess;
}

export interface GitOptions {
  /** The repository that it works in; none where it only asks a remote. */
  readonly folder?: string;
  readonly signal: AbortSignal;
  /** What it shows to the remote: environment variables, never arguments. */
  readonly access?: Readonly<Record<string, string>>;
}

export interface GitProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Resolves when it has ended well; throws as `run` does. */
  readonly ended: Promise<void>;
  kill(): void;
}

export interface GitProgramOptions {
  /** Where git and what it starts (ssh) are looked for. */
  readonly path: string;
  /** A folder of its own: its settings and what stands for a home. */
  readonly folder: string;
  /** Absolute paths below which repositories may lie; none are looked at elsewhere. */
  readonly allowedPaths: readonly string[];
}

/** Variables of the agent's own that say how to reach the world; git honours them. */
const networkVariables = ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"];
const trustVariables = ["SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"];

/** Git's settings, in place of those of machine and user, also for what git itself starts. */
function settings(allowedPaths: readonly string[]): string {
  return [
    "[core]",
    "\thooksPath = /dev/null",
    "\tfsmonitor = false",
    "\taskPass = /bin/false",
    "\tbigFileThreshold = 16m", // above it git streams: of 300 MB it held 290 MiB in memory, and 13 so
    "[credential]",
    "\thelper =",
    // Others start programs (ext), or look where nobody has allowed it.
    "[protocol]",
    "\tallow = never",
    ...["http", "https", "ssh"].flatMap((name) => [`[protocol "${name}"]`, "\tallow = always"]),
    ...(allowedPaths.length === 0 ? [] : ['[protocol "file"]', "\tallow = always"]),
    "[http]",
    "\tlowSpeedLimit = 1024",
    `\tlowSpeedTime = ${limits.gitStallMs / 1000}`,
    "[gc]",
    "\tauto = 0",
    "[maintenance]",
    "\tauto = false",
    "[fetch]",
    "\trecurseSubmodules = false",
    "\tunpackLimit = 1", // one file a fetch, and not one for each object
    // Which paths may be looked at is decided here, not by whom they belong to.
    ...(allowedPaths.length === 0 ? [] : ["[safe]", "\tdirectory = *"]),
    "",
  ].join("\n");
}

/** Sets up the folder; git is looked for at each call, as it may come and go. */
export function gitProgram({ path, folder, allowedPaths }: GitProgramOptions): Git {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const config = join(folder, "gitconfig");
  writeFileSync(config, settings(allowedPaths), { mode: 0o600 });
  const passed = [...networkVariables, ...trustVariables].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const environment = {
    ...Object.fromEntries(passed),
    PATH: path,
    HOME: folder,
    LC_ALL: "C",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: config,
    GIT_ATTR_NOSYSTEM: "1",
    GIT_TERMINAL_PROMPT: "0",
    GIT_ASKPASS: "/bin/false",
    SSH_ASKPASS: "/bin/false",
    GIT_SSH_COMMAND: "/bin/false", // unless the access says how, or it would read a user's settings
    GIT_OPTIONAL_LOCKS: "0",
    GIT_NO_REPLACE_OBJECTS: "1",
  };

  function start(args: readonly string[], { folder: repository, signal, access = {} }: GitOptions): GitProcess {
    signal.throwIfAborted();
    const [file, before] = programOf(path);
    const cwd = repository ?? folder;
    const where = repository === undefined ? { GIT_CEILING_DIRECTORIES: dirname(folder) } : { GIT_DIR: repository };
    const env = { ...environment, ...where, ...access };
    // A group of its own, so that what git has started ends with it.
    const child = spawn(file, [...before, ...args], { cwd, env, detached: true, stdio: "pipe" });
    const kill = () => killGroup(child.pid);
    const ended = endOf(child, args[0] ?? "", { signal, kill });
    ended.catch(() => {}); // whoever asks is told; nobody need ask
    child.stdin.on("error", () => {}); // it ended before it had read all: `ended` says how
    return { stdin: child.stdin, stdout: child.stdout, ended, kill };
  }

  return {
    start,
    async run(args, options) {
      const { stdin, stdout, ended, kill } = start(args, options);
      stdin.end();
      const chunks: Buffer[] = [];
      let bytes = 0;
      stdout.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > limits.gitOutputBytes) kill();
        else chunks.push(chunk);
      });
      await ended.catch((error: unknown) => {
        if (bytes <= limits.gitOutputBytes) throw error;
        throw new MillraceError("out_of_range", `git ${args[0]} printed more than ${limits.gitOutputBytes} bytes`);
      });
      return Buffer.concat(chunks);
    },
  };
}

/** Git, or what starts it so that it ends when the agent does, however that is. */
function programOf(path: string): readonly [file: string, before: readonly string[]] {
  const git = findTool("git", path);
  if (git === undefined) throw new MillraceError("unavailable", "this agent has no git any more");
  const setpriv = findTool("setpriv", path);
  return setpriv === undefined ? [git, []] : [setpriv, ["--pdeathsig", "KILL", "--", git]];
}

async function endOf(
  child: ChildProcessByStdio<Writable, Readable, Readable>,
  command: string,
  { signal, kill }: { readonly signal: AbortSignal; readonly kill: () => void },
): Promise<void> {
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-4 * limits.gitMessageChars);
  });
  signal.addEventListener("abort", kill);
  try {
    const [code, killedBy] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
    signal.throwIfAborted();
    if (code !== 0) throw describeGitFailure(command, said, killedBy === null ? `status ${code}` : killedBy);
  } catch (error) {
    throw signal.aborted ? signal.reason : from(error);
  } finally {
    signal.removeEventListener("abort", kill);
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error; // it has ended already
  }
}
