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
  const problem = found.length > 1 ? "is not unique: say which" : `is no task of ${run}`;
  throw new MillraceError(found.length > 1 ? "invalid_argument" : "not_found", `"${asked}" ${problem} of ${names}`);
}
