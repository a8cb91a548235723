import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { isConnectError, MillraceError } from "../errors.ts";
import { toConnectError } from "./connect-error.ts";

/** The google.rpc messages of a kind that go with an error, ours or a server's: those of the outermost that has any. */
export function detailsOf<Desc extends DescMessage>(error: unknown, kind: Desc): MessageShape<Desc>[] {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const hasDetails = isConnectError(cause) || (cause instanceof MillraceError && cause.details.length > 0);
    if (hasDetails) return toConnectError(cause).findDetails(kind);
  }
  return [];
}
