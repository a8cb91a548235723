import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { from, MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import { writePrivateFile } from "../private-file.ts";
import { issueAuthority, issueServerCertificate, type KeyPair, newKey } from "./certificates.ts";
import { fingerprintOf, publicKeyPinOf } from "./fingerprint.ts";
import type { FarmAuthority, ServerTls } from "./server-tls.ts";

export interface AuthorityOptions {
  /** Holds ca.key, ca.pem, server.key and server.pem, each for its owner alone. */
  readonly folder: string;
  /** What the server's certificate shall be for, see `serverNames`. */
  readonly names: readonly string[];
  readonly nowMs: number;
}

/**
 * Opens the farm's own CA, or makes it, and gives what a server needs. The server's certificate is made anew when the names
 * changed or its time draws near, always with the same key. One process at a time opens a folder.
 *
 * What cannot be made again without new tokens for everybody is never replaced by itself: a damaged CA is an error.
 * @throws MillraceError data_loss or failed_precondition, naming the file and what to do
 */
export async function openAuthority({
  folder,
  names,
  nowMs,
}: AuthorityOptions): Promise<ServerTls & { readonly authority: FarmAuthority }> {
  const file = (name: string) => join(folder, name);
  const authority = await openOrMakeCa({ keyFile: file("ca.key"), certFile: file("ca.pem"), nowMs });
  const ca = new X509Certificate(authority.certPem);

  const keyFile = file("server.key");
  const keyPem = readPrivate(keyFile) ?? (await makeKey(keyFile));
  checkKey(keyPem, keyFile, "delete it and start again; command lines that pin the server's key must be printed anew");

  const certFile = file("server.pem");
  let certPem = readPrivate(certFile);
  if (certPem === undefined || !isCurrent(certPem, { ca, keyPem, names, nowMs })) {
    const endMs = Math.min(nowMs + limits.tlsServerMs, ca.validToDate.getTime());
    const leaf = await issueServerCertificate({ authority, keyPem, names, nowMs, endMs });
    certPem = leaf + authority.certPem; // clients look for the CA in what the server shows
    writePrivateFile(certFile, certPem);
  }
  return {
    ...{ certPem, certFile, keyPem, keyFile, pin: publicKeyPinOf(certPem) },
    authority: { caPem: authority.certPem, caFile: file("ca.pem"), fingerprint: fingerprintOf(ca) },
  };
}

async function openOrMakeCa(options: {
  readonly keyFile: string;
  readonly certFile: string;
  readonly nowMs: number;
}): Promise<KeyPair> {
  const { keyFile, certFile, nowMs } = options;
  const present = readPrivate(certFile);
  const key = readPrivate(keyFile);
  if (key === undefined && present !== undefined) {
    throw new MillraceError(
      "data_loss",
      `${keyFile} is missing, and with it the right to sign as ${certFile}; ${cure}`,
    );
  }
  const keyPem = key ?? (await makeKey(keyFile));
  const privateKey = checkKey(keyPem, keyFile, cure);
  if (present === undefined) {
    // The first start, or one that was cut off before anybody had seen the CA.
    const certPem = await issueAuthority({ keyPem, nowMs, endMs: nowMs + limits.tlsAuthorityMs });
    writePrivateFile(certFile, certPem, { durable: true });
    return { keyPem, certPem };
  }
  const certificate = readCertificate(present);
  if (certificate === undefined || !certificate.ca) {
    throw new MillraceError("data_loss", `${certFile} is damaged: it is no certificate of an authority; ${cure}`);
  }
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new MillraceError("data_loss", `${keyFile} is not the key of ${certFile}; ${cure}`);
  }
  if (certificate.validToDate.getTime() - nowMs < limits.tlsClockSkewMs) {
    throw new MillraceError("failed_precondition", `${certFile} ends on ${certificate.validTo}; ${cure}`);
  }
  return { keyPem, certPem: present };
}

const cure =
  "bring both back from a backup, or delete their folder and start again: a new CA is made, and every agent and person " +
  "needs a new token";

async function makeKey(file: string): Promise<string> {
  const pem = await newKey();
  writePrivateFile(file, pem, { durable: true });
  return pem;
}

/** Undefined when it is not there. */
function readPrivate(file: string): string | undefined {
  try {
    if ((statSync(file).mode & 0o077) !== 0) {
      throw new MillraceError("failed_precondition", `${file} can be read by others: chmod 600 ${file}`);
    }
    return readFileSync(file, "utf8");
  } catch (error) {
    const failure = from(error, `opening ${file}`);
    if (failure.code === "not_found") return undefined;
    throw failure;
  }
}

function checkKey(pem: string, file: string, remedy: string) {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new MillraceError("data_loss", `${file} is damaged: it is no private key; ${remedy}`, { cause });
  }
}

function readCertificate(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined; // damaged; the caller says or mends it
  }
}

interface CurrentOptions {
  readonly ca: X509Certificate;
  readonly keyPem: string;
  readonly names: readonly string[];
  readonly nowMs: number;
}

/** Whether a server's certificate can stay: signed by this CA, for this key and these names, with enough time left. */
function isCurrent(pem: string, { ca, keyPem, names, nowMs }: CurrentOptions): boolean {
  const certificate = readCertificate(pem);
  if (certificate === undefined) return false;
  const held = certificate.subjectAltName?.split(", ").length ?? 0;
  const has = (name: string) =>
    (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined;
  return (
    certificate.checkIssued(ca) &&
    certificate.verify(ca.publicKey) &&
    certificate.checkPrivateKey(createPrivateKey(keyPem)) &&
    names.length === held &&
    names.every(has) &&
    certificate.validToDate.getTime() - nowMs > limits.tlsServerLeastMs
  );
}
