import { clone, toBinary } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type ActionCache as ActionCacheRpc,
  type ActionResult,
  ActionResultSchema,
  type GetActionResultRequest,
} from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import { missingBlobs } from "../../../shared/cas/missing-blobs.ts";
import { readBlob } from "../../../shared/cas/read-blob.ts";
import { digestFromMessage, digestKey } from "../../../shared/digest.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { closureOf } from "../../../shared/merkle/closure.ts";
import type { ActionCache } from "../../farm/action-cache/action-cache.ts";
import { checkDigestFunction } from "./digest-function.ts";

export interface ActionCacheServiceOptions {
  /** Checks completeness: a hit is a promise. */
  readonly actionCache: ActionCache;
  readonly cas: Pick<Cas, "findMissing" | "read" | "readMany">;
  /** Who uploads, for the entry: `token:<name>`. */
  readonly writer: (context: HandlerContext) => string;
}

/** REAPI's results by the digest of the Action. That digest is not looked behind: moon's is not of an Action. */
export function actionCacheService(options: ActionCacheServiceOptions): ServiceImpl<typeof ActionCacheRpc> {
  const { actionCache, cas, writer } = options;
  return {
    async getActionResult(request, { signal }) {
      checkDigestFunction(request.digestFunction);
      const action = digestFromMessage(request.actionDigest, "action_digest");
      const entry = await actionCache.get(action, signal);
      if (entry === undefined) throw new MillraceError("not_found", `no cached result of action ${digestKey(action)}`);
      return await inlined(cas, entry.result, request, signal);
    },

    async updateActionResult({ actionDigest, actionResult: result, digestFunction }, context) {
      checkDigestFunction(digestFunction);
      const action = digestFromMessage(actionDigest, "action_digest");
      if (result === undefined) throw new MillraceError("invalid_argument", "action_result is not set");
      if (result.exitCode !== 0) {
        throw new MillraceError(
          "invalid_argument",
          `action ${digestKey(action)} ended with ${result.exitCode}; only 0 is cached`,
        );
      }
      const { byteLength } = toBinary(ActionResultSchema, result);
      if (byteLength > limits.actionResultBytes) {
        throw new MillraceError(
          "invalid_argument",
          `the result of action ${digestKey(action)} has ${byteLength} bytes; ${limits.actionResultBytes} is the most: ` +
            "upload outputs as blobs and directories instead of inlining them",
        );
      }
      const closure = await closureOf(cas, result, context.signal);
      const missing = await cas.findMissing(closure, context.signal);
      if (missing.length > 0) throw missingBlobs(missing, `caching the result of action ${digestKey(action)}`);
      await actionCache.put(action, { result, closure, writer: writer(context) }, context.signal);
      return result;
    },
  };
}

/** Adds the bytes that the client asked to have at once, as far as they fit into a message. */
async function inlined(
  cas: Pick<Cas, "read">,
  cached: ActionResult,
  request: GetActionResultRequest,
  signal: AbortSignal,
): Promise<ActionResult> {
  const result = clone(ActionResultSchema, cached);
  let room = limits.actionResultInlineBytes - toBinary(ActionResultSchema, cached).byteLength;
  const bytesOf = async (message: ActionResult["stdoutDigest"]): Promise<Uint8Array | undefined> => {
    if (message === undefined || message.sizeBytes > BigInt(Math.max(0, room))) return undefined;
    const digest = digestFromMessage(message);
    room -= digest.sizeBytes;
    try {
      return await readBlob(cas, digest, signal);
    } catch (error) {
      throw from(error, "inlining outputs of a cached result");
    }
  };
  if (request.inlineStdout) result.stdoutRaw = (await bytesOf(cached.stdoutDigest)) ?? cached.stdoutRaw;
  if (request.inlineStderr) result.stderrRaw = (await bytesOf(cached.stderrDigest)) ?? cached.stderrRaw;
  const wanted = new Set(request.inlineOutputFiles);
  for (const file of result.outputFiles) {
    if (!wanted.has(file.path)) continue;
    const contents = await bytesOf(file.digest);
    if (contents !== undefined) file.contents = contents;
  }
  return result;
}
