import { digestFromMessage } from "../../shared/digest.ts";
import type { InputRoots } from "../input-root/input-root.ts";
import type { Executor, LaidOutTask, ReadTask } from "./executor.ts";
import { foldersToMake } from "./output-paths.ts";

/** Fetches the inputs and puts them in place, and takes the place away again. */
export function layingOutExecutor(base: Executor<LaidOutTask>, roots: Pick<InputRoots, "create">): Executor<ReadTask> {
  return {
    async execute(task, stop) {
      const digest = digestFromMessage(task.action.inputRootDigest, "input_root_digest");
      const root = await roots.create(digest, foldersToMake(task.command), stop);
      try {
        const completed = task.time.now();
        const done = await base.execute({ ...task, root }, stop);
        done.times.inputFetchCompletedTimestamp = completed;
        return done;
      } finally {
        root.remove();
      }
    },
  };
}
