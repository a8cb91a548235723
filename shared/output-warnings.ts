import { create } from "@bufbuild/protobuf";
import { type Any, anyPack, anyUnpack } from "@bufbuild/protobuf/wkt";
import type { ActionResult } from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { type OutputWarnings, OutputWarningsSchema } from "../proto/gen/millrace/v1/dispatch_pb.ts";
import { limits } from "./limits.ts";

/** What people should know of outputs, for the metadata of their result: there it is for all who take the result from the cache. */
export function packedWarnings(found: readonly string[]): Any[] {
  if (found.length === 0) return [];
  return [anyPack(OutputWarningsSchema, create(OutputWarningsSchema, { warnings: bounded(found) }))];
}

/** The warnings in a result, bounded whoever wrote it. */
export function warningsIn({ executionMetadata }: Pick<ActionResult, "executionMetadata">): string[] {
  const said = executionMetadata?.auxiliaryMetadata ?? [];
  return bounded(said.flatMap((any) => read(any)?.warnings ?? []));
}

function read(any: Any): OutputWarnings | undefined {
  try {
    return anyUnpack(any, OutputWarningsSchema);
  } catch {
    return undefined; // Others may write to the cache: what only claims to be one is none.
  }
}

function bounded(warnings: readonly string[]): string[] {
  return warnings.slice(0, limits.outputWarnings).map((text) => text.slice(0, limits.outputWarningChars));
}
