import type { StorageOwner } from "../../shared/disk-space.ts";
import { type Executor, interrupted } from "./executor.ts";

/** Makes every attempt end as a value: what the layers below throw becomes an ending. `own` is the agent's disk. */
export function concludingExecutor<Task>(base: Executor<Task>, own: StorageOwner): Executor<Task> {
  return {
    async execute(task, stop) {
      try {
        stop.throwIfAborted();
        return await base.execute(task, stop);
      } catch (error) {
        return interrupted(error, stop, own);
      }
    },
  };
}
