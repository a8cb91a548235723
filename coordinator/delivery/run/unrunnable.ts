import { EndingKind, TaskStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { MillraceError } from "../../../shared/errors.ts";
import type { ChangeTask } from "./run-command.ts";

/** The farm's failure, or the task's own when what it asks for is wrong: artifacts that get in each other's way. */
export function unrunnable(task: string, { code, message }: MillraceError): ChangeTask {
  const kind = code === "invalid_argument" ? EndingKind.REFUSED : EndingKind.INFRASTRUCTURE;
  return { kind: "finish", task, outcome: { status: TaskStatus.FAILED, ending: { kind, detail: message } } };
}
