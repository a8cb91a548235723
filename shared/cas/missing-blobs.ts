import { PreconditionFailureSchema } from "../../proto/gen/google/rpc/error_details_pb.ts";
import { type Digest, digestKey } from "../digest.ts";
import { MillraceError } from "../errors.ts";
import { detailsOf } from "../rpc/error-details.ts";

const missingType = "MISSING";

/** Beyond this many the message only counts; the detail still lists all. */
const namedInMessage = 5;

/**
 * The error of work that needs blobs which are not there, all of them at once: `failed_precondition` with REAPI's
 * PreconditionFailure, which tells clients (Bazel among them) to upload these and to try again.
 */
export function missingBlobs(missing: readonly Digest[], doing: string): MillraceError {
  const named = missing.slice(0, namedInMessage).map(digestKey).join(", ");
  const more = missing.length > namedInMessage ? ` and ${missing.length - namedInMessage} more` : "";
  const violations = missing.map((digest) => ({ type: missingType, subject: `blobs/${digestKey(digest)}` }));
  return new MillraceError(
    "failed_precondition",
    `${doing}: not in the store: ${named}${more}; upload ${missing.length === 1 ? "it" : "them"} and try again`,
    { details: [{ desc: PreconditionFailureSchema, value: { violations } }] },
  );
}

/** Whether an error is that one, also when it comes from the other side of a call: to send them is of use then, and only then. */
export function lacksBlobs(error: unknown): boolean {
  return detailsOf(error, PreconditionFailureSchema).some(({ violations }) =>
    violations.some(({ type }) => type === missingType),
  );
}
