import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import {
  type Action,
  ActionSchema,
  CommandSchema,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { type Digest, type DigestKey, digestFromMessage, digestKey, digestOf } from "../../shared/digest.ts";
import { from } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { LocalStore } from "../store/local-store.ts";
import { type Executor, type LoggedTask, type ReadTask, Refused } from "./executor.ts";

/**
 * Reads the Action and its Command: from the assignment where they came with it, else from the store. Other blobs of the
 * assignment are inputs and go into the store, so nothing of it is fetched.
 */
export function readingExecutor(
  base: Executor<ReadTask>,
  store: Pick<LocalStore, "put" | "readMany">,
): Executor<LoggedTask> {
  /** @param given blobs by what their bytes are, whatever they were said to be */
  async function message<S extends DescMessage>(
    schema: S,
    digest: Digest,
    { given, stop }: { readonly given: ReadonlyMap<DigestKey, Uint8Array>; readonly stop: AbortSignal },
  ): Promise<MessageShape<S>> {
    const key = digestKey(digest);
    const data = given.get(key) ?? (await store.readMany([digest], stop)).get(key);
    try {
      return fromBinary(schema, data ?? new Uint8Array());
    } catch (error) {
      throw new Refused(`blob ${digestKey(digest)} is no ${schema.name}: ${from(error).message}`, { cause: error });
    }
  }

  return {
    async execute(task, stop) {
      const started = task.time.now();
      const given = new Map(task.blobs.map(({ data }) => [digestKey(digestOf(data)), data]));
      const action = await message(ActionSchema, task.actionDigest, { given, stop });
      const commandDigest = digestFromMessage(action.commandDigest, "command_digest");
      const command = await message(CommandSchema, commandDigest, { given, stop });
      const read = new Set([task.actionDigest, commandDigest].map(digestKey));
      const pin = await store.put(task.blobs.filter(({ digest }) => !read.has(digestKey(digest))));
      try {
        const done = await base.execute({ ...task, action, command, timeoutMs: timeoutOf(action) }, stop);
        done.times.inputFetchStartTimestamp = started;
        return done;
      } finally {
        pin.release();
      }
    },
  };
}

function timeoutOf(action: Action): number {
  if (action.timeout === undefined) return limits.taskTimeoutMs;
  const timeoutMs = durationMs(action.timeout);
  if (timeoutMs <= 0) return limits.taskTimeoutMs;
  if (timeoutMs > limits.taskTimeoutMaxMs) {
    throw new Refused(`the action asks for a time-out of ${timeoutMs} ms; ${limits.taskTimeoutMaxMs} ms is the most`);
  }
  return timeoutMs;
}
