import { type Digest, digestEquals, digestKey, digestOf, hasher } from "../digest.ts";
import { MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Blob } from "./cas.ts";

/**
 * Passes the source through and throws `invalid_argument` at its end, or as soon as it is too long, when it is not the
 * bytes that the digest names. What an adapter got before that must not become visible.
 */
export async function* checkedSource(
  digest: Digest,
  source: AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const hash = hasher();
  let sizeBytes = 0;
  signal?.throwIfAborted();
  for await (const chunk of source) {
    signal?.throwIfAborted();
    sizeBytes += chunk.byteLength;
    if (sizeBytes > digest.sizeBytes) throw wrongBytes(digest, `at least ${sizeBytes} bytes`);
    hash.update(chunk);
    if (chunk.byteLength > 0) yield chunk;
  }
  signal?.throwIfAborted();
  const found = hash.digest();
  if (!digestEquals(found, digest)) throw wrongBytes(digest, digestKey(found));
}

/** @throws MillraceError invalid_argument when these are not the bytes that the digest names. */
export function checkBlob({ digest, data }: Blob): void {
  const found = digestOf(data);
  if (!digestEquals(found, digest)) throw wrongBytes(digest, digestKey(found));
}

/** All of a source whose size is known to be bounded by the caller. */
export async function collect(source: AsyncIterable<Uint8Array>, sizeBytes: number): Promise<Uint8Array> {
  const data = new Uint8Array(sizeBytes);
  let filled = 0;
  for await (const chunk of source) {
    if (filled + chunk.byteLength > sizeBytes) {
      throw new MillraceError("data_loss", `more than the ${sizeBytes} bytes that were announced`);
    }
    data.set(chunk, filled);
    filled += chunk.byteLength;
  }
  if (filled !== sizeBytes) throw new MillraceError("data_loss", `${filled} of the ${sizeBytes} bytes announced came`);
  return data;
}

/** Views of at most `limits.streamChunkBytes`. */
export function* slices(data: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < data.byteLength; start += limits.streamChunkBytes) {
    yield data.subarray(start, start + limits.streamChunkBytes);
  }
}

function wrongBytes(digest: Digest, found: string): MillraceError {
  return new MillraceError("invalid_argument", `blob ${digestKey(digest)}: the bytes given are ${found}`);
}
