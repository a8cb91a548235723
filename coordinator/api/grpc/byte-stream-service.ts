import type { ServiceImpl } from "@connectrpc/connect";
import type { ByteStream, WriteRequest } from "../../../proto/gen/google/bytestream/bytestream_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import { type Digest, digestKey } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { type BlobName, parseReadName, parseWriteName } from "../../../shared/rpc/resource-name.ts";

/** Blobs of any size as streams. */
export function byteStreamService({ cas }: { readonly cas: Cas }): ServiceImpl<typeof ByteStream> {
  return {
    async *read({ resourceName, readOffset, readLimit }, { signal }) {
      const { digest } = uncompressed(parseReadName(resourceName));
      if (readOffset < 0n || readLimit < 0n) {
        throw new MillraceError(
          "out_of_range",
          `read_offset ${readOffset} and read_limit ${readLimit}: neither may be negative`,
        );
      }
      const range = { offset: Number(readOffset), ...(readLimit === 0n ? {} : { limit: Number(readLimit) }) };
      for await (const data of cas.read(digest, range, signal)) yield { data };
    },

    async write(requests, { signal }) {
      const incoming = requests[Symbol.asyncIterator]();
      const first = await incoming.next();
      if (first.done)
        throw new MillraceError("invalid_argument", "the stream has no message; the first names the resource");
      const { digest } = uncompressed(parseWriteName(first.value.resourceName));
      const upload = uploadedBytes(first.value, incoming, digest);
      await cas.write(digest, upload, signal);
      // A store that has the blob reads nothing; the client still sends, and may take an early answer for a failure.
      for await (const _ of upload) signal.throwIfAborted();
      return { committedSize: BigInt(digest.sizeBytes) };
    },

    // Nothing is kept of an upload that broke off, so a client resumes from the start.
    async queryWriteStatus({ resourceName }, { signal }) {
      const { digest } = parseWriteName(resourceName);
      const [missing] = await cas.findMissing([digest], signal);
      if (missing !== undefined) return { committedSize: 0n, complete: false };
      return { committedSize: BigInt(digest.sizeBytes), complete: true };
    },
  };
}

/**
 * The data of an upload.
 * @throws MillraceError invalid_argument when offsets leave a gap, or the stream ends without `finish_write`: that is how
 * a client that died looks, and must never commit.
 */
async function* uploadedBytes(
  first: WriteRequest,
  rest: AsyncIterator<WriteRequest>,
  digest: Digest,
): AsyncGenerator<Uint8Array> {
  const what = `blob ${digestKey(digest)}`;
  let offset = 0n;
  for (let request = first; ; ) {
    if (request.writeOffset !== offset) {
      throw new MillraceError(
        "invalid_argument",
        `${what}: write_offset ${request.writeOffset} where ${offset} comes next`,
      );
    }
    if (request.resourceName !== "" && request.resourceName !== first.resourceName) {
      throw new MillraceError("invalid_argument", `${what}: the stream changes its resource_name`);
    }
    offset += BigInt(request.data.byteLength);
    if (offset > digest.sizeBytes)
      throw new MillraceError("invalid_argument", `${what}: at least ${offset} bytes came`);
    yield request.data;
    if (request.finishWrite) return;
    const next = await rest.next();
    if (next.done) throw new MillraceError("invalid_argument", `${what}: the stream ended without finish_write`);
    request = next.value;
  }
}

function uncompressed(name: BlobName): BlobName {
  if (name.compressor === "identity") return name;
  throw new MillraceError(
    "invalid_argument",
    `compressor ${name.compressor} is not offered (see GetCapabilities); use blobs/`,
  );
}
