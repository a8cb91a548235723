import {
  DigestFunction_Value,
  DigestFunction_ValueSchema,
} from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";

/** @throws MillraceError invalid_argument unless it is SHA-256, said or left out. */
export function checkDigestFunction(digestFunction: DigestFunction_Value): void {
  if (digestFunction === DigestFunction_Value.UNKNOWN || digestFunction === DigestFunction_Value.SHA256) return;
  const name = DigestFunction_ValueSchema.value[digestFunction]?.name ?? String(digestFunction);
  throw new MillraceError(
    "invalid_argument",
    `digest function ${name} is not offered; use SHA256 (see GetCapabilities)`,
  );
}
