import { type Digest, digestKey, parseDigestKey } from "../digest.ts";
import { MillraceError } from "../errors.ts";

/** What a ByteStream name says about a blob. */
export interface BlobName {
  /** Empty, or segments joined by `/`. */
  readonly instanceName: string;
  readonly digest: Digest;
  /** `identity`, or the compressor that `compressed-blobs/{compressor}` names. */
  readonly compressor: string;
}

const sha256 = "sha256";
/** The digest functions that a name spells out; SHA-256 is one of those that need not be. */
const functions = new Set([sha256, "blake3", "sha256tree", "gitsha1"]);

/** `{instance/}blobs/{hash}/{size}` */
export function readName(digest: Digest, instanceName = ""): string {
  return `${prefix(instanceName)}blobs/${digestKey(digest)}`;
}

/** `{instance/}uploads/{uuid}/blobs/{hash}/{size}` */
export function writeName(digest: Digest, uploadId: string, instanceName = ""): string {
  return `${prefix(instanceName)}uploads/${uploadId}/blobs/${digestKey(digest)}`;
}

/**
 * Parses a name to read, from its right end, for an instance name may have many segments.
 * @throws MillraceError invalid_argument with the name and what a good one looks like.
 */
export function parseReadName(name: string): BlobName {
  const segments = name.split("/");
  const at = segments.findLastIndex((segment) => segment === "blobs" || segment === "compressed-blobs");
  const blob = at < 0 ? undefined : parseBlob(segments.slice(at), "exact");
  if (blob === undefined) throw malformed(name, "{instance/}blobs/{hash}/{size}");
  return { ...blob, instanceName: segments.slice(0, at).join("/") };
}

/**
 * Parses a name to write, by its first `uploads`; what stands behind the size is free text of the client's.
 * @throws MillraceError invalid_argument with the name and what a good one looks like.
 */
export function parseWriteName(name: string): BlobName {
  const segments = name.split("/");
  const at = segments.indexOf("uploads");
  const blob = at < 0 || !segments[at + 1] ? undefined : parseBlob(segments.slice(at + 2), "with more behind");
  if (blob === undefined) throw malformed(name, "{instance/}uploads/{uuid}/blobs/{hash}/{size}");
  return { ...blob, instanceName: segments.slice(0, at).join("/") };
}

/** Parses from the keyword on: `blobs/{function/}{hash}/{size}` or `compressed-blobs/{compressor}/{function/}{hash}/{size}`. */
function parseBlob(
  segments: readonly string[],
  end: "exact" | "with more behind",
): Omit<BlobName, "instanceName"> | undefined {
  const [keyword, ...rest] = segments;
  const compressor = keyword === "blobs" ? "identity" : keyword === "compressed-blobs" ? rest.shift() : undefined;
  const named = functions.has(rest[0] ?? "") ? rest.shift() : sha256;
  const [hash, size] = rest;
  if (!compressor || hash === undefined || size === undefined || (end === "exact" && rest.length > 2)) return undefined;
  if (named !== sha256) {
    throw new MillraceError(
      "invalid_argument",
      `digest function ${named} is not offered; this store speaks SHA-256 only`,
    );
  }
  return { digest: parseDigestKey(`${hash}/${size}`), compressor };
}

function prefix(instanceName: string): string {
  return instanceName === "" ? "" : `${instanceName}/`;
}

function malformed(name: string, form: string): MillraceError {
  return new MillraceError("invalid_argument", `resource name "${name}" is not of the form ${form}`);
}
