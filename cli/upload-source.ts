import type { Digest } from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { grpcCas } from "../shared/cas/grpc-cas.ts";
import { digestToMessage } from "../shared/digest.ts";
import { from } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { scanTree } from "../shared/merkle/scan.ts";
import { uploadSnapshot } from "../shared/merkle/upload-tree.ts";
import type { Connection } from "./connection.ts";
import type { Console } from "./output/console.ts";
import { formatBytes } from "./output/format.ts";
import { spinner, statusLine } from "./output/status-line.ts";
import { sourceFilter } from "./source-filter.ts";

export interface UploadSourceOptions {
  readonly signal: AbortSignal;
  /** Where progress is shown; nowhere without it. */
  readonly console?: Console;
}

/**
 * Puts the tree as it is now into the coordinator's CAS, sending only what is not there; gives its root Directory.
 * When files change while they are sent the tree is read again, so that what runs is what was there at one moment.
 */
export async function uploadSource(
  connection: Pick<Connection, "transport">,
  dir: string,
  options: UploadSourceOptions,
): Promise<Digest> {
  const { signal, console } = options;
  const cas = grpcCas({ transport: connection.transport });
  let doing = "reading the source tree";
  const line = console && statusLine(console, () => `${spinner(performance.now())} ${doing}`);
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        const snapshot = await scanTree(dir, { ignore: sourceFilter(dir), signal });
        await uploadSnapshot(cas, snapshot, {
          signal,
          onProgress({ sent, total }) {
            doing = `sending the source tree, ${formatBytes(sent.bytes)} of ${formatBytes(total.bytes)}`;
          },
        });
        return digestToMessage(snapshot.tree.root);
      } catch (error) {
        const changed = from(error).code === "aborted";
        if (!changed || attempt >= limits.snapshotAttempts) throw error;
        doing = "reading the source tree again, it has changed";
      }
    }
  } finally {
    await line?.close();
  }
}
