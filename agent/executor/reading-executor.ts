import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import {
  type Action,
  ActionSchema,
  CommandSchema,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { type Digest, digestFromMessage, digestKey } from "../../shared/digest.ts";
import { from } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { LocalStore } from "../store/local-store.ts";
import { type Executor, type LoggedTask, type ReadTask, Refused } from "./executor.ts";

/** Reads the Action and its Command. What came with the assignment goes into the store first, so nothing of it is fetched. */
export function readingExecutor(
  base: Executor<ReadTask>,
  store: Pick<LocalStore, "put" | "readMany">,
): Executor<LoggedTask> {
  async function read<S extends DescMessage>(schema: S, digest: Digest, stop: AbortSignal): Promise<MessageShape<S>> {
    const found = await store.readMany([digest], stop);
    try {
      return fromBinary(schema, found.get(digestKey(digest)) ?? new Uint8Array());
    } catch (error) {
      throw new Refused(`blob ${digestKey(digest)} is no ${schema.name}: ${from(error).message}`, { cause: error });
    }
  }

  return {
    async execute(task, stop) {
      const started = task.time.now();
      const pin = await store.put(task.blobs);
      try {
        const action = await read(ActionSchema, task.actionDigest, stop);
        const command = await read(CommandSchema, digestFromMessage(action.commandDigest, "command_digest"), stop);
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
