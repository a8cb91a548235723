import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, type ServiceImpl } from "@connectrpc/connect";
import {
  type BatchReadBlobsResponse_ResponseSchema,
  type BatchUpdateBlobsRequest_Request,
  type BatchUpdateBlobsResponse_ResponseSchema,
  Compressor_Value,
  type ContentAddressableStorage,
  type Directory,
  type GetTreeRequest,
} from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Blob, Cas } from "../../../shared/cas/cas.ts";
import { noSuchBlob } from "../../../shared/cas/read-range.ts";
import { type Digest, digestEquals, digestFromMessage, digestKey, digestToMessage } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { walkDirectories } from "../../../shared/merkle/load-tree.ts";
import { toConnectError } from "../../../shared/rpc/connect-error.ts";
import { checkDigestFunction } from "./digest-function.ts";

type Updated = MessageInitShape<typeof BatchUpdateBlobsResponse_ResponseSchema>;
type ReadBack = MessageInitShape<typeof BatchReadBlobsResponse_ResponseSchema>;

/** REAPI's blobs by digest. Any instance name is the one store. */
export function casService({ cas }: { readonly cas: Cas }): ServiceImpl<typeof ContentAddressableStorage> {
  return {
    async findMissingBlobs({ blobDigests, digestFunction }, { signal }) {
      checkDigestFunction(digestFunction);
      checkCount(blobDigests.length);
      const digests = blobDigests.map((digest) => digestFromMessage(digest));
      return { missingBlobDigests: (await cas.findMissing(digests, signal)).map(digestToMessage) };
    },

    async batchUpdateBlobs({ requests, digestFunction }, { signal }) {
      checkDigestFunction(digestFunction);
      checkCount(requests.length);
      const good: Blob[] = [];
      const responses: Updated[] = [];
      for (const request of requests) {
        try {
          good.push(checkedBlob(request));
        } catch (error) {
          responses.push({ ...digestOfRequest(request), status: statusOf(error) });
        }
      }
      try {
        await cas.writeMany(good, signal);
        for (const { digest } of good) responses.push({ digest: digestToMessage(digest) });
      } catch (error) {
        const status = statusOf(error);
        // One wrong blob fails the whole write: each alone says which it was. Other trouble is everyone's.
        for (const blob of good) {
          const alone = status.code === Code.InvalidArgument ? updateOne(cas, blob, signal) : undefined;
          responses.push((await alone) ?? { digest: digestToMessage(blob.digest), status });
        }
      }
      return { responses };
    },

    async batchReadBlobs({ digests: messages, digestFunction }, { signal }) {
      checkDigestFunction(digestFunction);
      checkCount(messages.length);
      const digests = messages.map((digest) => digestFromMessage(digest));
      const bytes = digests.reduce((sum, digest) => sum + digest.sizeBytes, 0);
      if (bytes > limits.batchReadBytes) {
        throw new MillraceError(
          "invalid_argument",
          `${digests.length} blobs of ${bytes} bytes are too much for one answer; read at most ` +
            `${limits.batchAdvertisedBytes} bytes at a time, larger blobs by ByteStream`,
        );
      }
      const found = await cas.readMany(digests, signal);
      const responses = digests.map((digest): ReadBack => {
        const data = found.get(digestKey(digest));
        const message = digestToMessage(digest);
        return data === undefined
          ? { digest: message, status: statusOf(noSuchBlob(digest)) }
          : { digest: message, data };
      });
      return { responses };
    },

    getTree: (request, { signal }) => treePages(cas, request, signal),
  };
}

/**
 * Directories in pages below the size of a default client's message. The token of a page is how many went before it: the
 * order of the walk depends on nothing but the tree. Absent subdirectories are left out, as REAPI says.
 */
async function* treePages(cas: Cas, request: GetTreeRequest, signal: AbortSignal) {
  checkDigestFunction(request.digestFunction);
  const root = digestFromMessage(request.rootDigest, "root_digest");
  const skip = parseToken(request.pageToken);
  const pageMax = request.pageSize > 0 ? request.pageSize : Number.POSITIVE_INFINITY;
  let page: Directory[] = [];
  let pageBytes = 0;
  let walked = 0;
  const onMissing = (digest: Digest): void => {
    if (digestEquals(digest, root)) throw noSuchBlob(digest);
  };
  for await (const { message, blob } of walkDirectories(cas, root, { onMissing, signal })) {
    if (walked++ < skip) continue;
    if (
      page.length >= pageMax ||
      (page.length > 0 && pageBytes + blob.digest.sizeBytes > limits.batchAdvertisedBytes)
    ) {
      yield { directories: page, nextPageToken: String(walked - 1) };
      page = [];
      pageBytes = 0;
    }
    page.push(message);
    pageBytes += blob.digest.sizeBytes;
  }
  yield { directories: page, nextPageToken: "" };
}

function parseToken(token: string): number {
  if (token === "") return 0;
  if (!/^\d{1,9}$/.test(token)) throw new MillraceError("invalid_argument", `page token "${token}" is not one of ours`);
  return Number(token);
}

function checkCount(count: number): void {
  if (count <= limits.findMissingDigests) return;
  throw new MillraceError(
    "invalid_argument",
    `${count} digests in one call; ${limits.findMissingDigests} are the most`,
  );
}

function checkedBlob({ digest: message, data, compressor }: BatchUpdateBlobsRequest_Request): Blob {
  const digest = digestFromMessage(message);
  if (compressor !== Compressor_Value.IDENTITY) {
    throw new MillraceError("invalid_argument", `blob ${digestKey(digest)} is compressed; only IDENTITY is offered`);
  }
  return { digest, data };
}

function digestOfRequest({ digest }: BatchUpdateBlobsRequest_Request): Pick<Updated, "digest"> {
  return digest === undefined ? {} : { digest };
}

async function updateOne(cas: Cas, blob: Blob, signal: AbortSignal): Promise<Updated> {
  const digest = digestToMessage(blob.digest);
  try {
    await cas.writeMany([blob], signal);
    return { digest };
  } catch (error) {
    return { digest, status: statusOf(error) };
  }
}

function statusOf(error: unknown): { code: Code; message: string } {
  const { code, rawMessage } = toConnectError(error);
  return { code, message: rawMessage };
}
