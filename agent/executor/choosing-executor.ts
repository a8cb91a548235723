import type { Assignment, Executor } from "./executor.ts";

export interface Choices {
  /** What runs and ends. */
  readonly actions: Executor<Assignment>;
  /** What outlives its task. */
  readonly operations: Executor<Assignment>;
  /** What brings a source into the CAS. */
  readonly imports: Executor<Assignment>;
}

/** Sends each assignment the way of its kind. */
export function choosingExecutor({ actions, operations, imports }: Choices): Executor<Assignment> {
  return {
    execute(task, stop) {
      if (task.importing !== undefined) return imports.execute(task, stop);
      return (task.operation === undefined ? actions : operations).execute(task, stop);
    },
  };
}
