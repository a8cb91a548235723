import { execFile } from "node:child_process";
import { constants, existsSync, mkdtempSync, openSync, watch, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { Socket } from "node:net";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { OfferShell, TerminalSize } from "../../proto/gen/millrace/v1/shell_pb.ts";
import { MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { shellWord } from "../../shared/shell-word.ts";
import type { LaidOutTask } from "../executor/executor.ts";
import { workingDirectory } from "../executor/output-paths.ts";
import { environmentOf, exitCodeOf, type ProcessExecutorOptions, sandboxOf } from "../executor/process-executor.ts";
import { openSpool } from "../logs/spool.ts";
import type { TaskProcess } from "../runner/runner.ts";
import { maskVariable } from "../secrets/mask-file.ts";

/**
 * Arguments: pipe with the input, which is taken away once it is open; for a terminal a pipe with its sizes, else nothing.
 * `script` gives its child a terminal; without one of its own it takes the echo away, since it expects that what it reads was
 * seen before. Which shell reads its text is up to SHELL, so that is taken away. Each size is set on the terminal from within,
 * which has the kernel tell whatever is in the foreground.
 */
const startShell = `PATH=$PATH:/usr/bin:/bin # whatever the task has made of it
exec 3<"$1" && rm -f "$1"
shell=$(command -v bash || command -v sh)
if [ -n "$2" ]; then
  if script=$(command -v script); then
    exec 4<>"$2"
    unset SHELL
    read -r rows columns <&4
    exec "$script" -qefc "stty echo rows $rows columns $columns
      (trap '' INT QUIT TSTP TTOU
      while read -r rows columns; do stty rows \\$rows columns \\$columns </dev/tty; done <&4 >/dev/null 2>&1) &
      PATH=\\\${PATH%:/usr/bin:/bin}
      exec $shell -i 4<&-" /dev/null <&3 3<&-
  fi
  echo "millrace: this agent has no program \\"script\\" (util-linux): a shell without a terminal"
fi
PATH=\${PATH%:/usr/bin:/bin}
exec "$shell" <&3 3<&-`;

/** What a person types, and how large the person's terminal has become. */
export type ShellInput =
  | { readonly case: "input"; readonly value: Uint8Array }
  | { readonly case: "resize"; readonly value: Pick<TerminalSize, "rows" | "columns"> };

/** What goes into a shell and comes out of it. */
export interface ShellStreams {
  /** Its end is the end of the shell's input. */
  readonly input: AsyncIterable<ShellInput>;
  /** Resolves when more may be given. */
  output(data: Uint8Array): Promise<void>;
}

export type ShellProcessOptions = Omit<ProcessExecutorOptions, "clock"> & {
  /** For the files that output goes through; there. */
  readonly spools: string;
  /** A shell that prints more is ended: the agent's disk has to hold it. */
  readonly outputMaxBytes: number;
};

/** A shell that is to be run in the place of a task. */
export interface ShellPlan {
  readonly task: LaidOutTask;
  readonly offer: Pick<OfferShell, "shellId" | "terminal">;
  /** A process has run there before, so that its overlay is mounted. */
  readonly isMounted: boolean;
}

/**
 * Runs a shell between the walls of the task, with its environment and in its folder; `MILLRACE_SCRIPT` names a file with
 * what the task would have run. Resolves with the exit code when the shell and all that it has started are gone; the end
 * of the signal ends them at once.
 */
export async function runShell(
  { task, offer, isMounted }: ShellPlan,
  streams: ShellStreams,
  stop: AbortSignal,
  options: ShellProcessOptions,
): Promise<number> {
  stop.throwIfAborted();
  const { root, command } = task;
  const { outputMaxBytes } = options;
  const own = mkdtempSync(join(root.temporary, "shell-")); // a task may have left names that lead elsewhere
  const [pipe, script, spool] = [join(own, "input"), join(own, "script"), join(options.spools, offer.shellId)];
  const sizePipe = offer.terminal === undefined ? [] : [join(own, "size")];
  writeFileSync(script, scriptOf(command.arguments), { mode: 0o700, flag: "wx" });
  await promisify(execFile)("mkfifo", ["-m", "600", pipe, ...sizePipe]);
  // Open for reading as well, or opening would wait for the shell, and fail once it is gone.
  const open = (path: string) => openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const input = new Socket({ fd: open(pipe), readable: false, writable: true });
  const [sizes] = sizePipe.map((path) => new Socket({ fd: open(path), readable: false, writable: true }));
  if (offer.terminal !== undefined) sizes?.write(sizeLine(offer.terminal));
  const gone = new AbortController();
  input.on("error", () => undefined); // each write says so itself
  sizes?.on("error", () => undefined); // a shell of the wrong size is still one
  try {
    const running = await options.runner.start({
      ...{ executionId: "", attempt: 0, spool },
      arguments: ["/bin/sh", "-c", startShell, "millrace-shell", pipe, ...sizePipe],
      environment: {
        ...environmentOf(task, options),
        MILLRACE_SCRIPT: script,
        [maskVariable]: "/dev/null", // a shell masks nothing
        ...(offer.terminal === undefined ? {} : { TERM: offer.terminal.kind }),
      },
      workingFolder: join(root.path, workingDirectory(command)),
      ...(isMounted || root.mount === undefined ? {} : { mount: root.mount }),
      ...(options.sandbox === "none" ? {} : { sandbox: sandboxOf(task, options) }),
    });
    const end = () => running.kill(0);
    stop.addEventListener("abort", end);
    if (stop.aborted) end();
    void feed({ input, sizes, pipe, gone: gone.signal }, streams.input).catch(end);
    const isWhole = await follow({ running, spool, outputMaxBytes }, streams).finally(() =>
      stop.removeEventListener("abort", end),
    );
    const exitCode = exitCodeOf(await running.ended);
    if (isWhole) return exitCode;
    const most = `${outputMaxBytes / 2 ** 20} MiB`;
    throw new MillraceError(
      "out_of_range",
      `it printed more than ${most}, which is the most, and was ended with all that it had started: write to a file there, and look at parts of it`,
    );
  } finally {
    gone.abort();
    input.destroy();
    sizes?.destroy();
    await rm(spool, { force: true });
  }
}

/** As the shell reads it. */
function sizeLine({ rows, columns }: Pick<TerminalSize, "rows" | "columns">): string {
  return `${rows} ${columns}\n`;
}

/** As a person can read, change and run it: the text of a shell's -c, or the words of the command. */
function scriptOf(words: readonly string[]): string {
  const [shell = ""] = words;
  const [flag, text = ""] = words.slice(-2);
  if (words.length > 2 && flag === "-c" && /^\/\S*\/(ba|da)?sh$/.test(shell)) {
    const settings = words.slice(1, -2);
    return `#!${shell}\n${settings.length === 0 ? "" : `set ${settings.join(" ")}\n`}${text}\n`;
  }
  return `#!/bin/sh\nexec ${words.map(shellWord).join(" ")}\n`;
}

interface Inlet {
  readonly input: Socket;
  /** Of the terminal, where it has one; read at once. */
  readonly sizes: Socket | undefined;
  /** Where the shell opens it. */
  readonly pipe: string;
  /** Aborted when the shell has ended. */
  readonly gone: AbortSignal;
}

async function feed({ input, sizes, pipe, gone }: Inlet, data: AsyncIterable<ShellInput>): Promise<void> {
  for await (const { case: kind, value } of data) {
    if (gone.aborted) return;
    if (kind === "resize") {
      if (sizes?.writableNeedDrain === false) sizes.write(sizeLine(value)); // else nobody reads them
      continue;
    }
    await new Promise<void>((resolve, reject) => {
      input.write(value, (error) => (error === undefined || error === null ? resolve() : reject(error)));
    });
  }
  await opened(pipe, gone); // what is in a pipe that nobody has open is gone
  input.destroy(); // the last one that writes: the shell reads the end
}

/** Resolves when the shell has taken the name of its pipe away, or is gone. */
async function opened(pipe: string, gone: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = () => {
    if (gone.aborted || !existsSync(pipe)) resolve();
  };
  const watcher = watch(dirname(pipe), { persistent: false }, look).on("error", () => resolve());
  gone.addEventListener("abort", look);
  look();
  await promise;
  gone.removeEventListener("abort", look);
  watcher.close();
}

interface Followed {
  readonly running: TaskProcess;
  /** The file with its output. */
  readonly spool: string;
  readonly outputMaxBytes: number;
}

/** Passes on what comes, until the shell is gone and all was passed on; false when it was too much, which ends the shell. */
async function follow(
  { running, spool: file, outputMaxBytes }: Followed,
  { output }: Pick<ShellStreams, "output">,
): Promise<boolean> {
  let wake = (): void => {};
  let isOver = false;
  const ended = running.ended.finally(() => {
    isOver = true;
    wake();
  });
  ended.catch(() => undefined); // whoever asked for the shell hears it
  const spool = await openSpool(file, () => wake());
  try {
    for (let offset = 0; ; ) {
      const changed = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const wasOver = isOver;
      const data = await spool.read(offset, limits.shellChunkBytes);
      offset += data.byteLength;
      if (offset > outputMaxBytes) {
        running.kill(0);
        return false;
      }
      if (data.byteLength > 0) await output(data);
      else if (wasOver) return true;
      else if (!isOver) await changed;
    }
  } finally {
    await spool.close();
  }
}
