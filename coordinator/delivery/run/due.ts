import { timestampMs } from "@bufbuild/protobuf/wkt";
import { TaskStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../shared/limits.ts";
import type { RunCommand } from "./run-command.ts";
import type { RunState } from "./run-state.ts";
import { isOpen, type TaskState } from "./task-state.ts";

/** Something that happens to a task when its time has come. */
export interface Due {
  /** Wall time in milliseconds. */
  readonly atMs: number;
  /** To be asked of the run then: too early, or when something else was faster, it comes to nothing. */
  readonly command: RunCommand;
  /** For messages: `letting the gate explore/approval time out`. */
  readonly doing: string;
}

/** What comes next of a task by time alone; undefined when nothing does. Pure: all of it stands in the log. */
export function dueOf(state: RunState, task: TaskState): Due | undefined {
  if (!isOpen(task)) return undefined;
  const { name, planned, gate, notBefore } = task;
  const found: Due[] = [];
  if (gate !== undefined) {
    const command = { kind: "gate-timeout", task: name } as const;
    found.push({ atMs: timestampMs(gate.deadline), command, doing: `letting the gate ${name} time out` });
  }
  if (notBefore !== undefined && task.status === TaskStatus.WAITING) {
    const command = { kind: "retry-due", task: name } as const;
    found.push({ atMs: timestampMs(notBefore), command, doing: `trying ${name} again` });
  }
  if (planned.always && state.cancels === 1 && state.cancelTime !== undefined) {
    const atMs = timestampMs(state.cancelTime) + limits.alwaysAfterCancelMs;
    found.push({ atMs, command: { kind: "cancel-overdue" }, doing: `ending ${name}, whose run was cancelled` });
  }
  return found.sort((a, b) => a.atMs - b.atMs)[0];
}
