import type { Task } from "../../../proto/gen/millrace/v1/run_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";

/** What a request says of a task. */
export interface TaskAsked {
  readonly run: string;
  /** `stage/task`, or `task` where that is unique. */
  readonly task: string;
}

/** The task of a run that a request means. @throws MillraceError not_found or invalid_argument, with what there is */
export function findTask(tasks: readonly Task[], { run, task: asked }: TaskAsked): Task {
  const found = tasks.filter(({ stage, name }) => asked === `${stage}/${name}` || asked === name);
  const [task] = found;
  if (task !== undefined && found.length === 1) return task;
  const names = (found.length > 1 ? found : tasks).map(({ stage, name }) => `${stage}/${name}`).join(", ");
  if (found.length > 1) throw new MillraceError("invalid_argument", `"${asked}" is not unique: say which of ${names}`);
  throw new MillraceError("not_found", `${run} has no task "${asked}"; it has ${names}`);
}
