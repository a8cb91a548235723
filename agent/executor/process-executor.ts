import { appendFile } from "node:fs/promises";
import { constants } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Action } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  ConfinementSchema,
  Containment,
  EndingKind,
  ResourceUsageSchema,
  SandboxLevel,
} from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../shared/clock.ts";
import { limits } from "../../shared/limits.ts";
import { nestedIn } from "../../shared/nesting.ts";
import { networkVariable } from "../../shared/pipeline/network-variable.ts";
import { ownNodeTool, ownNodeVariable } from "../../shared/pipeline/own-node-tool.ts";
import { toolProperty } from "../../shared/pipeline/tool-property.ts";
import type { SandboxLevel as Level } from "../runner/probe-sandbox.ts";
import { type ProcessEnd, type Runner, StartRefused, type TaskProcess } from "../runner/runner.ts";
import type { Sandbox } from "../runner/runner-protocol.ts";
import { maskVariable } from "../secrets/mask-file.ts";
import { type Conclusion, conclusion, type Executor, type LaidOutTask, Stopped } from "./executor.ts";
import { workingDirectory } from "./output-paths.ts";

export interface ProcessExecutorOptions {
  readonly runner: Pick<Runner, "start" | "feature">;
  readonly sandbox: Level;
  /** Whether that can take the network from a process. */
  readonly cutsNetwork: boolean;
  /** PATH of tasks that do not say. */
  readonly path: string;
  /** Folders that tasks in a sandbox see although they lie in hidden or temporary ones; absolute and real. */
  readonly readable: readonly string[];
  /** Folders that tasks in a sandbox do not see; absolute and real. */
  readonly hidden: readonly string[];
  /** Farms that the agent is inside of. */
  readonly nesting: number;
  readonly clock: Clock;
}

/** Runs the process to its end, its time-out, or the stop signal. */
export function processExecutor(options: ProcessExecutorOptions): Executor<LaidOutTask> {
  const { runner, sandbox, clock } = options;
  const confinement = create(ConfinementSchema, {
    sandbox: sandbox === "bubblewrap" ? SandboxLevel.BUBBLEWRAP : SandboxLevel.NONE,
    // A process namespace ends with its first process, whatever the others do.
    containment:
      sandbox === "bubblewrap" || runner.feature !== "containment:best-effort"
        ? Containment.FULL
        : Containment.BEST_EFFORT,
  });
  return {
    async execute(task, stop) {
      const { once } = task;
      const end = once === undefined ? stop : AbortSignal.any([stop, once.lapse]);
      end.throwIfAborted();
      if (once !== undefined) once.isBegun = true;
      const started = task.time.now();
      const maskFile = task.masking?.file;
      let done: Conclusion;
      try {
        const running = await runner.start({
          executionId: task.executionId,
          attempt: task.attempt,
          arguments: task.command.arguments,
          environment: {
            ...environmentOf(task, options),
            ...(maskFile === undefined ? {} : { [maskVariable]: maskFile }),
          },
          workingFolder: join(task.root.path, workingDirectory(task.command)),
          spool: task.spool,
          ...(task.root.mount === undefined ? {} : { mount: task.root.mount }),
          ...(sandbox === "none" ? {} : { sandbox: sandboxOf(task, options, maskFile) }),
        });
        done = await toEnd(running, task.timeoutMs, end, clock);
        done.confinement = confinement;
      } catch (error) {
        if (!(error instanceof StartRefused)) throw error;
        done = await refused(error, task);
      }
      done.times.executionStartTimestamp = started;
      done.times.executionCompletedTimestamp = task.time.now();
      return done;
    },
  };
}

/**
 * What a process in this place may see and change.
 * @param file that it may write to beside its own folders
 */
export function sandboxOf(
  { root, secrets, command }: LaidOutTask,
  { hidden, readable, cutsNetwork }: Pick<ProcessExecutorOptions, "hidden" | "readable" | "cutsNetwork">,
  file?: string,
): Sandbox {
  const { path, home, temporary } = root;
  const writable = [path, home, temporary, ...(file === undefined ? [] : [file])];
  const isCutOff = command.environmentVariables.some(({ name, value }) => name === networkVariable && value === "none");
  const files = secrets?.folder === undefined ? [] : [secrets.folder];
  const network = !(cutsNetwork && isCutOff);
  return { hidden, readable: [...readable, ...files], writable, temporary, network };
}

/** Exactly the Command's, the volatile and the secret variables, over the few that every program may count on. */
export function environmentOf(
  { action, command, volatileEnvironment, root, secrets }: LaidOutTask,
  { path, nesting }: Pick<ProcessExecutorOptions, "path" | "nesting">,
): Record<string, string> {
  const keyed = Object.fromEntries(command.environmentVariables.map(({ name, value }) => [name, value]));
  return {
    PATH: path,
    LANG: "C.UTF-8",
    HOME: root.home,
    TMPDIR: root.temporary,
    ...nestedIn(nesting),
    ...volatileEnvironment,
    ...(asksForOwnNode(action) ? { [ownNodeVariable]: process.execPath } : {}),
    ...keyed,
    ...secrets?.environment,
  };
}

function asksForOwnNode({ platform }: Action): boolean {
  return platform?.properties.some(({ name }) => name === toolProperty(ownNodeTool)) === true;
}

async function toEnd(running: TaskProcess, timeoutMs: number, stop: AbortSignal, clock: Clock): Promise<Conclusion> {
  let timedOut = false;
  const cancelTimer = clock.after(timeoutMs, () => {
    if (stop.aborted) return;
    timedOut = true;
    running.kill(limits.killGraceMs);
  });
  const onStop = () => {
    if (!timedOut) running.kill(stop.reason instanceof Stopped ? stop.reason.graceMs : limits.killGraceMs);
  };
  if (stop.aborted) onStop();
  stop.addEventListener("abort", onStop);
  try {
    const end = await running.ended;
    const done = conclusion({ ...endingOf(end, timedOut ? timeoutMs : undefined, stop), exitCode: exitCodeOf(end) });
    Object.assign(done.usage, usageOf(end));
    return done;
  } finally {
    cancelTimer();
    stop.removeEventListener("abort", onStop);
  }
}

function endingOf(end: ProcessEnd, timeoutMs: number | undefined, stop: AbortSignal) {
  if (timeoutMs !== undefined) {
    return {
      kind: EndingKind.TIMED_OUT,
      detail: `it ran longer than its time-out of ${timeoutMs / 1000} s and was ended`,
    };
  }
  if (stop.reason instanceof Stopped) return { kind: stop.reason.kind, detail: stop.reason.message };
  if (end.outOfMemory && end.code !== 0) {
    return { kind: EndingKind.OUT_OF_MEMORY, detail: "the kernel ended it for want of memory" };
  }
  if (end.signal !== null) return { kind: EndingKind.SIGNALLED, signal: end.signal };
  return { kind: EndingKind.EXITED };
}

/** As shells say it: 128 and the signal's number when a signal ended it. */
export function exitCodeOf(end: ProcessEnd): number {
  return end.code ?? 128 + (end.signal === null ? 0 : constants.signals[end.signal]);
}

function usageOf({ cpuMs, peakMemoryBytes }: ProcessEnd) {
  return create(ResourceUsageSchema, {
    ...(cpuMs > 0 ? { cpu: durationFromMs(cpuMs) } : {}),
    peakMemoryBytes: BigInt(peakMemoryBytes),
  });
}

/** The program cannot be run: said in the log and ended as shells do it, 127 when it is not there and 126 otherwise. */
async function refused(error: StartRefused, task: LaidOutTask): Promise<Conclusion> {
  const [program = ""] = task.command.arguments;
  const missing = error.systemCode === "ENOENT";
  const detail = missing ? `command not found: "${program}"` : `cannot run "${program}": ${error.message}`;
  await appendFile(task.spool, `millrace: ${detail}\n`);
  return conclusion({ kind: EndingKind.EXITED, exitCode: missing ? 127 : 126, detail });
}
