import type { Digest } from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { grpcCas } from "../shared/cas/grpc-cas.ts";
import { digestToMessage } from "../shared/digest.ts";
import { from } from "../shared/errors.ts";
import { formatBytes } from "../shared/format-bytes.ts";
import { limits } from "../shared/limits.ts";
import { scanTree } from "../shared/merkle/scan.ts";
import { type Uploaded, uploadSnapshot } from "../shared/merkle/upload-tree.ts";
import type { StatCache } from "../shared/stat-cache/stat-cache.ts";
import type { Connection } from "./connection.ts";
import type { Console } from "./output/console.ts";
import { spinner, statusLine } from "./output/status-line.ts";
import { sourceFilter } from "./source-filter.ts";

export interface UploadSourceOptions {
  readonly signal: AbortSignal;
  /**
   * Of this folder, opened for this call and closed by the caller, who need not wait for it to be open or closed: what
   * was seen is remembered beside the upload and what follows it.
   */
  readonly statCache: Promise<StatCache>;
  /**
   * Takes it that the coordinator has what was part of the last snapshot, and asks only about the rest: nearly nothing
   * is sent when nearly nothing has changed. It may not have it, so the tree must go to `SubmitRun`, which looks, and
   * after its `failed_precondition` be uploaded again without this.
   */
  readonly assumeLast: boolean;
  /** Told what was sent, which is what the coordinator had not. */
  readonly onUploaded?: (sent: Uploaded) => void;
  /** Where progress is shown; nowhere without it. */
  readonly console?: Console;
}

/**
 * Puts the tree as it is now into the coordinator's CAS, sending only what is not there; gives its root Directory.
 * When files change while they are sent the tree is read again, so that what runs is what was there at one moment.
 * Files that have not changed since the last call on this folder are not read at all.
 */
export async function uploadSource(
  connection: Pick<Connection, "transport">,
  dir: string,
  options: UploadSourceOptions,
): Promise<Digest> {
  const { signal, console, statCache, assumeLast } = options;
  const cas = grpcCas({ transport: connection.transport });
  let doing = "reading the source tree";
  const line = console && statusLine(console, () => `${spinner(performance.now())} ${doing}`);
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        // A file that is not what its stats promised is found out here: then nothing is taken for known.
        const known = attempt === 1 ? { known: statCache } : {};
        const snapshot = await scanTree(dir, { ignore: sourceFilter(dir), signal, ...known });
        void (await statCache).save(snapshot);
        const sent = await uploadSnapshot(cas, snapshot, {
          signal,
          ...(assumeLast ? { assumed: snapshot.known } : {}),
          onProgress({ sent, total }) {
            doing = `sending the source tree, ${formatBytes(sent.bytes)} of ${formatBytes(total.bytes)}`;
          },
        });
        options.onUploaded?.(sent);
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
