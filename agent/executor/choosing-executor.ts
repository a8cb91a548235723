import type { Assignment, Executor } from "./executor.ts";

/** Sends what runs and ends one way, and what outlives its task the other. */
export function choosingExecutor(
  actions: Executor<Assignment>,
  operations: Executor<Assignment>,
): Executor<Assignment> {
  return {
    execute: (task, stop) => (task.operation === undefined ? actions : operations).execute(task, stop),
  };
}
