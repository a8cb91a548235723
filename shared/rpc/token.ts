import { MillraceError } from "../errors.ts";

/** What a person copies: `mr_<secret>`, or `mr_<secret>.<fingerprint>` where the farm has a CA of its own. */
export interface Token {
  /** The bearer token: all that travels, and all that the coordinator knows the hash of. */
  readonly secret: string;
  /** Of the farm's own CA (`fingerprintOf`): whoever has the token knows the farm without asking anybody else. */
  readonly fingerprint: string | undefined;
}

/** 32 bytes as base64url. */
const fingerprintPattern = /^[A-Za-z0-9_-]{43}$/;

/** @throws MillraceError invalid_argument when it was not copied as a whole; the message does not repeat it */
export function parseToken(text: string): Token {
  const dot = text.indexOf(".");
  if (dot === -1) return { secret: text, fingerprint: undefined };
  const [secret, fingerprint] = [text.slice(0, dot), text.slice(dot + 1)];
  if (secret !== "" && fingerprintPattern.test(fingerprint)) return { secret, fingerprint };
  throw new MillraceError(
    "invalid_argument",
    "the token was not copied as a whole: it is mr_…, or mr_… with a dot and 43 characters behind it",
  );
}

export function formatToken({ secret, fingerprint }: Token): string {
  return fingerprint === undefined ? secret : `${secret}.${fingerprint}`;
}
