import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { from, isDiskFull } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { childLog, problemIn } from "./child-log.ts";
import { forgetProcess, killGroup, recordProcess } from "./process-record.ts";

export interface ChildCommand {
  readonly file: string;
  readonly args: readonly string[];
  /** With a channel to us, whose end tells the child that we are gone. Only Node can use it. */
  readonly channel: boolean;
  /** Default ours. */
  readonly env?: NodeJS.ProcessEnv;
}

export interface LaunchOptions<Ready> {
  readonly logFile: string;
  /** Where the process is written down while it lives; see process-record.ts. */
  readonly recordFile: string;
  /** Looks at each line that the child prints and gives a value once it serves. */
  readyFrom(line: string): Ready | undefined;
  /** A line that a person should see. */
  onProblem(problem: string): void;
}

/** One life of a child. */
export interface ChildLife<Ready> {
  /** Resolves when it serves; undefined when it ended, or was ended for being late, before that. */
  readonly ready: Promise<Ready | undefined>;
  /** Resolves, never rejects, with why it ended: "exited with 1", "was ended by SIGKILL". */
  readonly ended: Promise<string>;
  /** The newest lines. */
  lastWords(): readonly string[];
  terminate(): void;
  /** Ends it and all of its process group at once. */
  kill(): void;
}

/** Lines of a child that end up in the message when it does not come up. */
const lastWordsLines = 10;

/**
 * Starts a process once. It leads its own process group, so that Ctrl-C on the terminal reaches us alone and we stop the
 * children in order.
 */
export function launchChild<Ready>(command: ChildCommand, options: LaunchOptions<Ready>): ChildLife<Ready> {
  const log = childLog(options.logFile);
  const lastWords: string[] = [];
  const ready = Promise.withResolvers<Ready | undefined>();
  const ended = Promise.withResolvers<string>();
  let isServing = false;
  let isOver = false;

  const child = spawn(command.file, command.args, {
    detached: true,
    env: command.env ?? process.env,
    stdio: command.channel ? ["ignore", "pipe", "pipe", "ipc"] : ["ignore", "pipe", "pipe"],
  });
  const { pid } = child;
  if (pid !== undefined) record(pid, options);
  const kill = () => {
    if (pid !== undefined && !isOver) killGroup(pid);
  };
  const late = setTimeout(kill, limits.childStartMs);

  function onLine(line: string, stream: "stdout" | "stderr"): void {
    if (isOver) return;
    log.line(line);
    const problem = problemIn(line, stream);
    lastWords.push(problem ?? line);
    if (lastWords.length > lastWordsLines) lastWords.shift();
    if (problem !== undefined) options.onProblem(problem);
    const value = isServing ? undefined : options.readyFrom(line);
    if (value === undefined) return;
    isServing = true;
    clearTimeout(late);
    ready.resolve(value);
  }

  function end(reason: string): void {
    if (isOver) return;
    isOver = true;
    clearTimeout(late);
    forgetProcess(options.recordFile);
    log.close();
    ready.resolve(undefined);
    ended.resolve(reason);
  }

  for (const stream of ["stdout", "stderr"] as const) {
    const source = child[stream];
    if (source !== null) createInterface({ input: source }).on("line", (line) => onLine(line, stream));
  }
  child.once("error", (error) => end(error.message));
  child.once("exit", (code, signal) => {
    const reason = signal === null ? `exited with ${code}` : `was ended by ${signal}`;
    // Its last lines come until `close`; but a process that it left behind may hold the pipes open for ever.
    const lastLines = setTimeout(end, limits.childLastLinesMs, reason);
    child.once("close", () => {
      clearTimeout(lastLines);
      end(reason);
    });
  });

  return {
    ready: ready.promise,
    ended: ended.promise,
    lastWords: () => lastWords,
    terminate: () => void child.kill("SIGTERM"),
    kill,
  };
}

/** A disk that is full is no reason to fall: then only a kill -9 of ours leaves the child to itself. */
function record(
  pid: number,
  { recordFile, onProblem }: Pick<LaunchOptions<unknown>, "recordFile" | "onProblem">,
): void {
  try {
    recordProcess(recordFile, pid);
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    onProblem(from(error, `writing down process ${pid}`).message);
  }
}
