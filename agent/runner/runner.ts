import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { realpathSync } from "node:fs";
import type { Clock } from "../../shared/clock.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { ownEntry } from "../../shared/own-files.ts";
import { isSingleFile, nodeOptions, runnerRole } from "../../shared/single-file.ts";
import { backoff } from "../retry.ts";
import type { EndedMessage, FailedMessage, FromRunner, StartMessage, ToRunner } from "./runner-protocol.ts";

/** What to run; see StartMessage. */
export type ProcessPlan = Omit<StartMessage, "type" | "id">;

/** How a process ended; see EndedMessage. */
export type ProcessEnd = Omit<EndedMessage, "type" | "id">;

/** A process of a task, with all that it starts. */
export interface TaskProcess {
  /** SIGTERM to all, SIGKILL to what is left after the grace; a grace of 0 ends a running one. */
  kill(graceMs: number): void;
  /**
   * Resolves when no process of the task is left.
   * Throws `unavailable` when the runner died; its successor has then ended whatever was left.
   */
  readonly ended: Promise<ProcessEnd>;
}

/** Starts the processes of tasks. */
export interface Runner {
  /** What the machine allows for keeping processes together, for example `containment:cgroup-v2`. */
  readonly feature: string;
  /**
   * Throws StartRefused when the program could not be run, `unavailable` when the runner is down for a moment,
   * `internal` when the farm could not prepare the start.
   */
  start(plan: ProcessPlan): Promise<TaskProcess>;
  /** How a path looks from here that only the runner's mount namespace shows as tasks saw it. */
  seenByTasks(path: string): string;
  /** Takes an overlay away; safe to call when it never was there. */
  unmount(path: string): Promise<void>;
  /** Ends everything that still runs, then the runner. */
  close(): Promise<void>;
}

/** The program that a task names cannot be run: the task's fault, not the farm's. */
export class StartRefused extends MillraceError {
  /** Of Node's system error, for example `ENOENT`. */
  readonly systemCode: string;

  constructor(failed: FailedMessage) {
    super("failed_precondition", failed.message);
    this.systemCode = failed.code;
  }
}

export interface RunnerOptions {
  /** Unique to this agent on this machine: its groups are found by it after a crash. */
  readonly name: string;
  /** Keeps where the groups were; a file in the data folder. */
  readonly stateFile: string;
  /** Gets a line `ISO-time execution-id attempt pid` for each start of a process. */
  readonly startsFile: string;
  /** A command in front of the runner's own that gives it a mount namespace; empty for none. */
  readonly namespace: readonly string[];
  /** Which ways of containment may be used, strongest first; default all. */
  readonly containment?: readonly string[];
  readonly clock: Clock;
  /** Told when the runner had to be started again. */
  readonly onRestart?: (error: MillraceError) => void;
}

interface Running {
  started(): void;
  ended(end: ProcessEnd): void;
  failed(error: MillraceError): void;
}

/** One life of the runner process. */
interface Generation {
  readonly child: ChildProcess;
  readonly feature: string;
  readonly running: Map<string, Running>;
  readonly unmounting: Map<string, () => void>;
}

/** Starts the runner process and keeps one running until `close`. */
export async function openRunner(options: RunnerOptions): Promise<Runner> {
  const closing = new AbortController();
  let lastId = 0;
  let current: Generation | undefined = await launch(options);
  const { feature } = current;
  watch(current);

  function watch(generation: Generation): void {
    generation.child.once("exit", (code, signal) => {
      if (current === generation) current = undefined;
      const why = `the runner process ended (${signal ?? `exit code ${code}`})`;
      void succeed(generation, new MillraceError("unavailable", why));
    });
  }

  /** A new runner first, for it ends what the old one left; only then are the old one's tasks told. */
  async function succeed(dead: Generation, error: MillraceError): Promise<void> {
    const pauses = backoff(options.clock);
    while (!closing.signal.aborted && current === undefined) {
      options.onRestart?.(error);
      try {
        current = await launch(options);
        watch(current);
      } catch (failure) {
        options.onRestart?.(from(failure, "starting the runner again"));
        await pauses.pause(closing.signal);
      }
    }
    if (closing.signal.aborted) current?.child.disconnect();
    for (const task of dead.running.values()) task.failed(error);
    for (const done of dead.unmounting.values()) done(); // its namespace went with it
  }

  return {
    feature,
    async start(plan) {
      const generation = current;
      if (generation === undefined) throw new MillraceError("unavailable", "the runner process is being started again");
      const id = String(++lastId);
      const started = Promise.withResolvers<void>();
      const ended = Promise.withResolvers<ProcessEnd>();
      ended.promise.catch(() => {}); // whoever waits hears it; nobody waits when the start failed
      generation.running.set(id, {
        started: started.resolve,
        ended: ended.resolve,
        failed(error) {
          started.reject(error);
          ended.reject(error);
        },
      });
      tell(generation, { type: "start", id, ...plan });
      await started.promise;
      return {
        kill: (graceMs) => tell(generation, { type: "kill", id, graceMs }),
        ended: ended.promise,
      };
    },
    seenByTasks(path) {
      const pid = current?.child.pid;
      if (options.namespace.length === 0 || pid === undefined) return path;
      return `/proc/${pid}/root${realpathSync(path)}`;
    },
    unmount(path) {
      const generation = current;
      if (generation === undefined) return Promise.resolve();
      const id = String(++lastId);
      return new Promise((resolve) => {
        generation.unmounting.set(id, resolve);
        tell(generation, { type: "unmount", id, path });
      });
    },
    async close() {
      closing.abort();
      const child = current?.child;
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      if (child.connected) child.disconnect();
      await exited;
    },
  };
}

async function launch(options: RunnerOptions): Promise<Generation> {
  const command = [
    ...options.namespace,
    process.execPath,
    ...runnerArguments(),
    options.name,
    options.stateFile,
    options.startsFile,
    (options.containment ?? []).join(","),
  ];
  const [file = "", ...rest] = command;
  const child = spawn(file, rest, { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  const running = new Map<string, Running>();
  const unmounting = new Map<string, () => void>();
  const feature = await ready(child, options.clock);
  child.on("message", (message: FromRunner) => receive(message, running, unmounting));
  child.on("error", () => {}); // a send to a dead runner; its exit tells the rest
  return { child, feature, running, unmounting };
}

/** What makes our executable the runner. */
function runnerArguments(): string[] {
  // In lite mode it has 11 MiB less, and is as fast at starting processes.
  const flags = ["--lite-mode", "--max-semi-space-size=1", "--max-old-space-size=32"];
  if (isSingleFile()) return [...nodeOptions(flags), runnerRole];
  return [...flags, ownEntry("runner")];
}

async function ready(child: ChildProcess, clock: Clock): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const refuse = (why: string) => reject(new MillraceError("internal", `the runner process did not start: ${why}`));
  const onMessage = (message: FromRunner) => {
    if (message.type === "ready") resolve(message.feature);
  };
  const onExit = (code: number | null, signal: string | null) => refuse(signal ?? `exit code ${code}`);
  const onError = (error: Error) => refuse(error.message);
  child.on("message", onMessage).on("exit", onExit).on("error", onError);
  const cancel = clock.after(limits.runnerReadyMs, () => {
    child.kill("SIGKILL");
    refuse(`it was not ready within ${limits.runnerReadyMs} ms`);
  });
  try {
    return await promise;
  } finally {
    cancel();
    child.off("message", onMessage).off("exit", onExit).off("error", onError);
  }
}

function receive(message: FromRunner, running: Map<string, Running>, unmounting: Map<string, () => void>): void {
  switch (message.type) {
    case "ready":
      return;
    case "started":
      running.get(message.id)?.started();
      return;
    case "failed": {
      const task = running.get(message.id);
      running.delete(message.id);
      const failure = new MillraceError("internal", `starting a process: ${message.message}`);
      task?.failed(message.step === "exec" ? new StartRefused(message) : failure);
      return;
    }
    case "ended": {
      const { type: _, id, ...end } = message;
      running.get(id)?.ended(end);
      running.delete(id);
      return;
    }
    case "unmounted":
      unmounting.get(message.id)?.();
      unmounting.delete(message.id);
      return;
    default:
      message satisfies never;
  }
}

/** To a runner that just died this is lost; its exit settles whatever waits. */
function tell(generation: Generation, message: ToRunner): void {
  if (generation.child.connected) generation.child.send(message, () => {});
}
