import { type Executor, interrupted } from "./executor.ts";

/** Makes every attempt end as a value: what the layers below throw becomes an ending. */
export function concludingExecutor<Task>(base: Executor<Task>): Executor<Task> {
  return {
    async execute(task, stop) {
      try {
        stop.throwIfAborted();
        return await base.execute(task, stop);
      } catch (error) {
        return interrupted(error, stop);
      }
    },
  };
}
