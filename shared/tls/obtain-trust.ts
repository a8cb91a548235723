import { readFileSync } from "node:fs";
import { from, MillraceError } from "../errors.ts";
import { writePrivateFile } from "../private-file.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { authorityTrust, type Trust, trustOf } from "./trust.ts";

export interface ObtainTrustOptions {
  /** `host:port` of the coordinator. */
  readonly address: string;
  /** Of the token; undefined when it has none. */
  readonly fingerprint: string | undefined;
  /** What `--tls-ca` says: `system`, or a file. */
  readonly tlsCa: string | undefined;
  /** Where the farm's CA is kept once it was seen. */
  readonly keptFile: string;
  readonly signal?: AbortSignal;
}

/**
 * How to speak to a coordinator: a token with a fingerprint and `--tls-ca` both mean TLS, neither means plain, and one never
 * becomes the other, whatever the port says. The network is asked only for a CA that is not kept yet.
 * @throws what `trustOf` throws; invalid_argument for a --tls-ca that cannot be read
 */
export async function obtainTrust(options: ObtainTrustOptions): Promise<Trust | undefined> {
  const { address, fingerprint, tlsCa, keptFile, signal } = options;
  if (tlsCa === "system") return { caPem: undefined, checksName: true };
  if (tlsCa !== undefined) return { caPem: readCa("--tls-ca", tlsCa), checksName: true };
  if (fingerprint === undefined) return undefined;
  const kept = readKept(keptFile, fingerprint);
  if (kept !== undefined) return authorityTrust(kept);
  const trust = await trustOf({ address, fingerprint, ...(signal === undefined ? {} : { signal }) });
  if (trust.caPem !== undefined) writePrivateFile(keptFile, trust.caPem);
  return trust;
}

/**
 * The farm that was spoken to before, for who was given no token this time; undefined when there is none.
 * @throws MillraceError failed_precondition when that cannot be read any more: to go on in plain would give the secret away
 */
export function keptFingerprint(keptFile: string): string | undefined {
  try {
    return fingerprintOf(readFileSync(keptFile, "utf8"));
  } catch (error) {
    const failure = from(error);
    if (failure.code === "not_found") return undefined;
    throw new MillraceError(
      "failed_precondition",
      `${keptFile}, the CA of the farm, cannot be read (${failure.message}): start once with a token, which names it`,
      { cause: error },
    );
  }
}

/** Certificates of authorities in a file that a setting names. Throws `invalid_argument` when it holds none. */
export function readCa(setting: string, file: string): string {
  try {
    const pem = readFileSync(file, "utf8");
    fingerprintOf(pem); // throws for what is none
    return pem;
  } catch (error) {
    const message = `${setting} ${file} is no certificate in PEM: ${from(error).message}`;
    throw new MillraceError("invalid_argument", message, { cause: error });
  }
}

/** Undefined when it is not there, damaged, or of another farm: the fingerprint tells, and it is fetched again. */
function readKept(file: string, fingerprint: string): string | undefined {
  try {
    const pem = readFileSync(file, "utf8");
    return fingerprintOf(pem) === fingerprint ? pem : undefined;
  } catch {
    return undefined;
  }
}
