import { createHash, hash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import {
  type Digest as DigestMessage,
  DigestSchema,
} from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { MillraceError } from "./errors.ts";

/** Names a blob by content. Hash (SHA-256, 64 lowercase hex digits) and size together are its identity. */
export interface Digest {
  readonly hash: string;
  readonly sizeBytes: number;
}

/** `hash/size`: a key for maps, and the form in which people see a digest. */
export type DigestKey = `${string}/${number}`;

/** The digest of zero bytes. Every store holds this blob without having been given it. */
export const emptyDigest: Digest = Object.freeze({
  hash: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  sizeBytes: 0,
});

export function digestOf(data: Uint8Array): Digest {
  return { hash: hash("sha256", data), sizeBytes: data.byteLength };
}

export function digestKey(digest: Digest): DigestKey {
  return `${digest.hash}/${digest.sizeBytes}`;
}

/** @throws MillraceError invalid_argument when the text is not `hash/size`. */
export function parseDigestKey(text: string): Digest {
  const [hashText = "", size = ""] = text.split("/");
  if (!/^\d{1,16}$/.test(size)) throw new MillraceError("invalid_argument", `not a digest: "${text}"`);
  return checkedDigest({ hash: hashText, sizeBytes: Number(size) });
}

export function digestEquals(a: Digest, b: Digest): boolean {
  return a.hash === b.hash && a.sizeBytes === b.sizeBytes;
}

export function digestToMessage(digest: Digest): DigestMessage {
  return create(DigestSchema, { hash: digest.hash, sizeBytes: BigInt(digest.sizeBytes) });
}

/**
 * The digest in a message from outside.
 * @throws MillraceError invalid_argument when it is absent or not a SHA-256 digest; `what` names the field.
 */
export function digestFromMessage(message: DigestMessage | undefined, what = "digest"): Digest {
  if (message === undefined) throw new MillraceError("invalid_argument", `${what} is not set`);
  return checkedDigest({ hash: message.hash, sizeBytes: Number(message.sizeBytes) }, what);
}

function checkedDigest(digest: Digest, what = "digest"): Digest {
  if (!/^[0-9a-f]{64}$/.test(digest.hash)) {
    throw new MillraceError(
      "invalid_argument",
      `${what} "${digest.hash}" is not a SHA-256 hash: 64 lowercase hexadecimal digits`,
    );
  }
  if (!Number.isSafeInteger(digest.sizeBytes) || digest.sizeBytes < 0) {
    throw new MillraceError("invalid_argument", `${what} ${digest.hash} has the impossible size ${digest.sizeBytes}`);
  }
  return digest;
}

/** Hashes bytes as they pass; `digest()` ends it. */
export interface Hasher {
  update(data: Uint8Array): void;
  digest(): Digest;
}

export function hasher(): Hasher {
  const sha = createHash("sha256");
  let sizeBytes = 0;
  return {
    update(data) {
      sha.update(data);
      sizeBytes += data.byteLength;
    },
    digest: () => ({ hash: sha.digest("hex"), sizeBytes }),
  };
}
