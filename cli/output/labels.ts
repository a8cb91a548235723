import { durationMs as durationToMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { AgentState } from "../../proto/gen/millrace/v1/agent_pb.ts";
import {
  type Confinement,
  Containment,
  type Ending,
  EndingKind,
  RunStatus,
  SandboxLevel,
  TaskStatus,
  WaitCause,
} from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Colors } from "./console.ts";

const runStatuses = new Map<RunStatus, string>([
  [RunStatus.RUNNING, "running"],
  [RunStatus.SUCCEEDED, "succeeded"],
  [RunStatus.FAILED, "failed"],
  [RunStatus.CANCELLED, "cancelled"],
]);
const taskStatuses = new Map<TaskStatus, string>([
  [TaskStatus.WAITING, "waiting"],
  [TaskStatus.QUEUED, "queued"],
  [TaskStatus.RUNNING, "running"],
  [TaskStatus.SUCCEEDED, "succeeded"],
  [TaskStatus.FAILED, "failed"],
  [TaskStatus.CANCELLED, "cancelled"],
  [TaskStatus.SKIPPED, "skipped"],
]);
const waitCauses = new Map<WaitCause, string>([
  [WaitCause.NEEDS, "needs other tasks"],
  [WaitCause.PREPARING, "is being prepared"],
  [WaitCause.AGENTS_BUSY, "all matching agents are busy"],
  [WaitCause.NO_AGENT_MATCHES, "no agent matches"],
  [WaitCause.AGENT_LOST, "its agent was lost"],
  [WaitCause.AGENT_DRAINING, "all matching agents are draining"],
  [WaitCause.POOL_SCALING, "a pool is starting agents for it"],
  [WaitCause.GATE, "a person has to decide"],
  [WaitCause.PLACING, "is being placed"],
  [WaitCause.CONCURRENCY, "its concurrency group is full"],
  [WaitCause.QUOTA, "its project runs as many tasks as it may"],
  [WaitCause.SECRET, "a secret has no value"],
  [WaitCause.PAUSED, "the run is paused"],
  [WaitCause.RETRY_DELAY, "is tried again after a delay"],
  [WaitCause.RERUN, "had ended, until somebody asked for it once more"],
]);
const sandboxLevels = new Map<SandboxLevel, string>([
  [SandboxLevel.NONE, "none"],
  [SandboxLevel.BUBBLEWRAP, "bubblewrap"],
]);
const containments = new Map<Containment, string>([
  [Containment.FULL, "full"],
  [Containment.BEST_EFFORT, "best-effort"],
]);
const agentStates = new Map<AgentState, string>([
  [AgentState.ONLINE, "online"],
  [AgentState.DRAINING, "draining"],
  [AgentState.LOST, "lost"],
  [AgentState.ENROLLED, "enrolled"],
]);

/** Lower case, as programs read it; what a newer server says and this version does not know is `unknown`. */
export const runStatusLabel = (status: RunStatus): string => runStatuses.get(status) ?? "unknown";
export const taskStatusLabel = (status: TaskStatus): string => taskStatuses.get(status) ?? "unknown";
export const agentStateLabel = (state: AgentState): string => agentStates.get(state) ?? "unknown";
export const waitCauseLabel = (cause: WaitCause): string =>
  waitCauses.get(cause) ?? "waits for a cause this version does not know";

/** As programs read it: `agents-busy`, `gate`. A cause that this version does not know is `unknown`. */
export function waitCauseCode(cause: WaitCause): string {
  const name = Object.entries(WaitCause).find(([, value]) => value === cause)?.[0] ?? "unknown";
  return name.toLowerCase().replaceAll("_", "-");
}

/** "exited with 3", "timed out": completes "the task …". Empty for a plain success. */
export function endingLabel(ending: Ending | undefined): string {
  if (ending === undefined) return "";
  const detail = ending.detail === "" ? "" : `: ${ending.detail}`;
  switch (ending.kind) {
    case EndingKind.EXITED:
      return ending.exitCode === 0 ? "" : `exited with ${ending.exitCode}`;
    case EndingKind.SIGNALLED:
      return `was ended by ${ending.signal}${detail}`;
    case EndingKind.TIMED_OUT:
      return `timed out${detail}`;
    case EndingKind.CANCELLED:
      return `was cancelled${detail}`;
    case EndingKind.OUT_OF_MEMORY:
      return `ran out of memory${detail}`;
    case EndingKind.AGENT_LOST:
      return `lost its agent${detail}`;
    case EndingKind.OUTPUT_MISSING:
      return `left out an output${detail}`;
    case EndingKind.REJECTED:
      return `was rejected ${ending.detail}`.trimEnd();
    case EndingKind.DEPLOYMENT_FAILED:
      return `could not be deployed${detail}`;
    case EndingKind.INFRASTRUCTURE:
      return `could not be run${detail}`;
    case EndingKind.REFUSED:
      return detail === "" ? "asks for what no agent does" : `was refused${detail}`;
    default:
      return `ended${detail}`;
  }
}

/** Both in a word each, as `sandbox` and `containment`; undefined where no process was started. */
export function confinementLabels(confinement: Confinement | undefined) {
  if (confinement === undefined) return undefined;
  return {
    sandbox: sandboxLevels.get(confinement.sandbox) ?? "unknown",
    containment: containments.get(confinement.containment) ?? "unknown",
  };
}

/** Green for good, red for bad, yellow for what needs a person, dim for the rest. */
export function paintStatus(colors: Colors, label: string, text = label): string {
  switch (label) {
    case "succeeded":
    case "online":
      return colors.green(text);
    case "failed":
    case "lost":
      return colors.red(text);
    case "cancelled":
    case "draining":
      return colors.yellow(text);
    case "running":
      return colors.cyan(text);
    default:
      return colors.dim(text);
  }
}

/** Milliseconds of an optional protobuf Duration. */
export function millisOf(duration: Parameters<typeof durationToMs>[0] | undefined): number | undefined {
  return duration === undefined ? undefined : durationToMs(duration);
}

/** Milliseconds since 1970 of an optional protobuf Timestamp. */
export function timeOf(timestamp: Parameters<typeof timestampMs>[0] | undefined): number | undefined {
  return timestamp === undefined ? undefined : timestampMs(timestamp);
}

/** As ISO 8601, in UTC, as all `--json` has times. */
export function isoTime(timestamp: Parameters<typeof timeOf>[0]): string | undefined {
  const timeMs = timeOf(timestamp);
  return timeMs === undefined ? undefined : new Date(timeMs).toISOString();
}

/** Said where a log ends in a gap. */
export const gapLabel = "millrace: the agent was lost here; output may be missing";
