import { digestFromMessage } from "../../shared/digest.ts";
import { from } from "../../shared/errors.ts";
import type { InputRoot, InputRoots } from "../input-root/input-root.ts";
import { type Executor, type LaidOutTask, type ReadTask, Refused } from "./executor.ts";
import { foldersToMake } from "./output-paths.ts";

/** Fetches the inputs and puts them in place, and takes the place away again. */
export function layingOutExecutor(base: Executor<LaidOutTask>, roots: Pick<InputRoots, "create">): Executor<ReadTask> {
  async function place({ action }: ReadTask, folders: readonly string[], stop: AbortSignal): Promise<InputRoot> {
    try {
      return await roots.create(digestFromMessage(action.inputRootDigest, "input_root_digest"), folders, stop);
    } catch (error) {
      const { code, message } = from(error);
      throw code === "invalid_argument" ? new Refused(`its input root: ${message}`, { cause: error }) : error;
    }
  }

  return {
    async execute(task, stop) {
      const folders = foldersToMake(task.command);
      const root = await place(task, folders, stop);
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
