import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { from, MillraceError } from "../errors.ts";
import { publicKeyPinOf } from "./fingerprint.ts";

/** With what a server shows who it is: as text for our servers, as files for nats-server. */
export interface ServerTls {
  /** The server's certificate, followed by those up to its CA. */
  readonly certPem: string;
  readonly certFile: string;
  /** PKCS #8. */
  readonly keyPem: string;
  readonly keyFile: string;
  /** For `curl --pinnedpubkey`; stays the same while the key does. */
  readonly pin: string;
  /** The farm's own CA; undefined when somebody else's vouches for the server. */
  readonly authority: FarmAuthority | undefined;
}

/** The farm's own CA: who has its fingerprint needs no other. */
export interface FarmAuthority {
  readonly caPem: string;
  readonly caFile: string;
  /** 43 characters of base64url, as in tokens. */
  readonly fingerprint: string;
}

/**
 * A certificate that somebody else made.
 * @throws MillraceError invalid_argument, naming the file, when a file is unreadable or the two do not belong together
 */
export function readServerTls(files: { readonly certFile: string; readonly keyFile: string }): ServerTls {
  const { certFile, keyFile } = files;
  const [certPem, keyPem] = [readText("--tls-cert", certFile), readText("--tls-key", keyFile)];
  const certificate = understood(`--tls-cert ${certFile} is no certificate in PEM`, () => new X509Certificate(certPem));
  const key = understood(`--tls-key ${keyFile} is no private key in PEM without a passphrase`, () =>
    createPrivateKey(keyPem),
  );
  if (!certificate.checkPrivateKey(key)) {
    throw new MillraceError("invalid_argument", `--tls-key ${keyFile} is not the key of --tls-cert ${certFile}`);
  }
  if (certificate.validToDate.getTime() < Date.now()) {
    throw new MillraceError("invalid_argument", `--tls-cert ${certFile} ended on ${certificate.validTo}; renew it`);
  }
  return { certPem, certFile, keyPem, keyFile, pin: publicKeyPinOf(certPem), authority: undefined };
}

function readText(flag: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new MillraceError("invalid_argument", from(error, `${flag} ${file}`).message, { cause: error });
  }
}

function understood<T>(problem: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new MillraceError("invalid_argument", problem, { cause });
  }
}
