import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { type Digest, digestKey, digestOf } from "../digest.ts";
import { from, MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Cas } from "./cas.ts";
import { collect } from "./checked-source.ts";

/**
 * A whole blob in memory.
 * @throws MillraceError not_found; resource_exhausted when it is larger than `limits.messageBlobBytes`.
 */
export async function readBlob(cas: Pick<Cas, "read">, digest: Digest, signal?: AbortSignal): Promise<Uint8Array> {
  if (digest.sizeBytes > limits.messageBlobBytes) {
    throw new MillraceError(
      "resource_exhausted",
      `blob ${digestKey(digest)} is too large to be held in memory (${limits.messageBlobBytes} bytes): stream it`,
    );
  }
  return await collect(cas.read(digest, {}, signal), digest.sizeBytes);
}

/**
 * A blob that is a protobuf message.
 * @throws MillraceError as `readBlob`; invalid_argument when its bytes are not such a message.
 */
export async function readMessage<S extends DescMessage>(
  cas: Pick<Cas, "read">,
  schema: S,
  digest: Digest,
  signal?: AbortSignal,
): Promise<MessageShape<S>> {
  const data = await readBlob(cas, digest, signal);
  try {
    return fromBinary(schema, data);
  } catch (error) {
    const cause = from(error);
    throw new MillraceError("invalid_argument", `blob ${digestKey(digest)} is not a ${schema.name}: ${cause.message}`, {
      cause,
    });
  }
}

/** Stores a message and returns its digest. Canonical form is up to the caller: lists sorted, defaults not set. */
export async function putMessage<S extends DescMessage>(
  cas: Pick<Cas, "writeMany">,
  schema: S,
  message: MessageShape<S>,
  signal?: AbortSignal,
): Promise<Digest> {
  const data = toBinary(schema, message);
  const digest = digestOf(data);
  await cas.writeMany([{ digest, data }], signal);
  return digest;
}
