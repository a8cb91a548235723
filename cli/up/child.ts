import { join } from "node:path";
import { MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { type ChildCommand, type ChildLife, launchChild } from "./child-process.ts";
import { endLeftover } from "./process-record.ts";

/** How to start a child, and how to know that it serves. */
export interface ChildSpec<Ready> {
  /** `nats`, `coordinator`, `agent-1`: names its log and its lines on standard error. */
  readonly name: string;
  /** Asked before each start, so that it can use what was learned since the last. */
  command(): ChildCommand;
  /** Looks at each line that the child prints and gives a value once it serves. */
  readyFrom(line: string): Ready | undefined;
}

export interface ChildOptions {
  /** The folder for logs and process records. */
  readonly dataDir: string;
  /** Tells a person of a problem. */
  report(name: string, problem: string): void;
}

export interface Child<Ready> {
  readonly name: string;
  /**
   * Ends what an earlier supervisor left behind, then resolves when the child serves for the first time. From then on it
   * is started again whenever it ends.
   * Throws `unavailable`, with its last words, when it ends before that or takes too long.
   */
  start(): Promise<Ready>;
  /** SIGTERM, and SIGKILL when that does not help in time. Resolves when it is gone. */
  stop(): Promise<void>;
  /** Ends a waiting `start` or `stop` at once. */
  kill(): void;
}

/**
 * A child process that is kept running.
 *
 *   idle ── start ──▶ starting ── ready line ──▶ serving ── end ──▶ pausing ── pause over ──▶ starting
 *                        └─ end before the first ready line: start() throws
 *   any ── stop ──▶ stopping ── end ──▶ stopped
 */
export function superviseChild<Ready>(spec: ChildSpec<Ready>, options: ChildOptions): Child<Ready> {
  const recordFile = join(options.dataDir, "pids", `${spec.name}.json`);
  const logFile = join(options.dataDir, "logs", `${spec.name}.log`);
  let life: ChildLife<Ready> | undefined;
  let pause: NodeJS.Timeout | undefined;
  let stopping = false;
  let hasServed = false;
  let failures = 0;

  function launch(): ChildLife<Ready> {
    const started = launchChild(spec.command(), {
      logFile,
      recordFile,
      readyFrom: (line) => spec.readyFrom(line),
      onProblem(problem) {
        // Until it has served once, what it says becomes the message of `start`.
        if (hasServed && !stopping) options.report(spec.name, problem);
      },
    });
    life = started;
    return started;
  }

  /** Waits for the end of a life and begins the next. */
  async function keepRunning(current: ChildLife<Ready>): Promise<void> {
    let servedSinceMs: number | undefined;
    void current.ready.then((value) => {
      if (value !== undefined) servedSinceMs = performance.now();
    });
    const reason = await current.ended;
    life = undefined;
    if (stopping) return;
    const steady = servedSinceMs !== undefined && performance.now() - servedSinceMs >= limits.childSteadyMs;
    failures = steady ? 1 : failures + 1;
    const pauseMs = restartPauseMs(failures);
    options.report(spec.name, `it ${reason}; starting it again in ${Math.round(pauseMs)} ms`);
    pause = setTimeout(() => void keepRunning(launch()), pauseMs);
  }

  return {
    name: spec.name,
    async start() {
      await endLeftover(recordFile);
      const first = launch();
      const ready = await first.ready;
      if (ready !== undefined) {
        hasServed = true;
        void keepRunning(first);
        return ready;
      }
      const reason = await first.ended;
      const said = first.lastWords().map((line) => `\n  ${line}`);
      const message = `${spec.name} did not start: it ${reason}${said.join("")}\nIts whole log: ${logFile}`;
      throw new MillraceError("unavailable", message);
    },
    async stop() {
      stopping = true;
      clearTimeout(pause);
      const last = life;
      if (last === undefined) return;
      last.terminate();
      const timer = setTimeout(() => last.kill(), limits.childStopMs);
      await last.ended;
      clearTimeout(timer);
    },
    kill() {
      stopping = true;
      clearTimeout(pause);
      life?.kill();
    },
  };
}

/** Doubling pauses up to a bound, half of each random, so that parts that fell together do not rise together. */
export function restartPauseMs(failures: number, random: () => number = Math.random): number {
  const boundMs = Math.min(limits.childPauseMaxMs, limits.childPauseMs * 2 ** Math.min(Math.max(failures - 1, 0), 16));
  return boundMs / 2 + (random() * boundMs) / 2;
}
