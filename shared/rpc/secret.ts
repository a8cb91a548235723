import { hash, randomBytes } from "node:crypto";

/** A new bearer secret, 192 bits: for whoever shall be known by it and by nothing else. */
export function newSecret(): string {
  return `mr_${randomBytes(24).toString("base64url")}`;
}

/** What is kept of a secret, as hex: a stolen database opens nothing. Secrets are random, so no salt is needed. */
export function secretHash(secret: string): string {
  return hash("sha256", secret);
}
