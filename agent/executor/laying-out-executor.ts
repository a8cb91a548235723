import { EndingKind } from "../../proto/gen/millrace/v1/event_pb.ts";
import { type Digest, digestFromMessage } from "../../shared/digest.ts";
import { from } from "../../shared/errors.ts";
import { toolOfProperty } from "../../shared/pipeline/tool-property.ts";
import { checkCaches } from "../caches/check-caches.ts";
import type { HeldCache, NamedCaches } from "../caches/named-caches.ts";
import type { BesideInputs, InputRoot, InputRoots } from "../input-root/input-root.ts";
import { type Conclusion, type Executor, type LaidOutTask, type ReadTask, Refused } from "./executor.ts";
import { foldersToMake, promisedOutputs } from "./output-paths.ts";

export interface LayingOutOptions {
  readonly roots: Pick<InputRoots, "create">;
  readonly caches: Pick<NamedCaches, "hold" | "keep">;
  /** Takes over what a process left, root and all; false when it does not. */
  readonly keepTree?: (task: LaidOutTask, done: Conclusion) => boolean;
}

/**
 * Fetches the inputs and puts them in place with the task's caches, and takes the place away again. Only a process that
 * exited 0, with all outputs there, leaves a mark on the caches.
 */
export function layingOutExecutor(base: Executor<LaidOutTask>, options: LayingOutOptions): Executor<ReadTask> {
  const { roots, caches } = options;

  async function hold({ caches: declared, action, command }: ReadTask): Promise<readonly HeldCache[]> {
    if (declared === undefined) return [];
    const outputs = promisedOutputs(command).map(({ fromRoot }) => fromRoot);
    const problem = checkCaches(declared, outputs);
    if (problem !== undefined) throw new Refused(problem);
    const properties = action.platform?.properties ?? [];
    const tools = properties.filter(({ name }) => toolOfProperty(name) !== undefined);
    return await caches.hold(
      declared,
      tools.map(({ name, value }) => `${name}=${value}`),
    );
  }

  async function place(digest: Digest, beside: BesideInputs, stop: AbortSignal): Promise<InputRoot> {
    try {
      return await roots.create(digest, beside, stop);
    } catch (error) {
      throw refusal(error);
    }
  }

  return {
    async execute(task, stop) {
      const [digest, folders] = [inputRootOf(task), foldersToMake(task.command)];
      const held = await hold(task);
      const root = await place(digest, { folders, caches: held }, stop);
      let isKept = false;
      try {
        const completed = task.time.now();
        const done = await base.execute({ ...task, root }, stop);
        done.times.inputFetchCompletedTimestamp = completed;
        if (held.length > 0 && hasSucceeded(done)) await caches.keep(held, root);
        isKept = options.keepTree?.({ ...task, root }, done) ?? false;
        return done;
      } finally {
        if (!isKept) root.remove();
      }
    },
  };
}

function inputRootOf({ action }: ReadTask): Digest {
  try {
    return digestFromMessage(action.inputRootDigest, "input_root_digest");
  } catch (error) {
    throw refusal(error);
  }
}

function refusal(error: unknown): unknown {
  const { code, message } = from(error);
  return code === "invalid_argument" ? new Refused(`its input root: ${message}`, { cause: error }) : error;
}

function hasSucceeded({ ending: { kind, exitCode } }: Conclusion): boolean {
  return kind === EndingKind.EXITED && exitCode === 0;
}
