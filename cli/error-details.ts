import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";

/** The google.rpc messages of a kind that a server sent along with an error; none when it came from no server. */
export function detailsOf<Desc extends DescMessage>(error: unknown, kind: Desc): MessageShape<Desc>[] {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof ConnectError) return cause.findDetails(kind);
  }
  return [];
}
