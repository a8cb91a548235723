import { createHash, X509Certificate } from "node:crypto";

/** The SHA-256 of a certificate's DER as 43 characters of base64url: how a token names the farm's own CA. */
export function fingerprintOf(certificate: X509Certificate | string): string {
  const { raw } = typeof certificate === "string" ? new X509Certificate(certificate) : certificate;
  return createHash("sha256").update(raw).digest("base64url");
}

/**
 * What curl takes after `--pinnedpubkey`, for the first certificate of a PEM text: `sha256//` and the SHA-256 of its public
 * key (SubjectPublicKeyInfo) as base64. curl holds a server to it also with `--insecure`.
 */
export function publicKeyPinOf(certPem: string): string {
  const key = new X509Certificate(certPem).publicKey.export({ type: "spki", format: "der" });
  return `sha256//${createHash("sha256").update(key).digest("base64")}`;
}
