import { randomBytes, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import { BitString, Integer, OctetString, Utf8String } from "asn1js";
import {
  AttributeTypeAndValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  CryptoEngine,
  Extension,
  ExtKeyUsage,
  GeneralName,
  GeneralNames,
  Time,
} from "pkijs";
import { MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";

/** A certificate and its private key, both as PEM. */
export interface KeyPair {
  readonly certPem: string;
  /** PKCS #8. */
  readonly keyPem: string;
}

export interface ServerCertificateOptions {
  readonly authority: KeyPair;
  /** PKCS #8 PEM of the server: kept from one certificate to the next, so that a pin of its public key stays good. */
  readonly keyPem: string;
  /** Host names and IP addresses to be reached at; at least one. */
  readonly names: readonly string[];
  readonly nowMs: number;
  readonly endMs: number;
}

const engine = new CryptoEngine({ name: "node", crypto: webcrypto });
const algorithm = { name: "ECDSA", namedCurve: "P-256" } as const;

/** Object identifiers of RFC 5280. */
const oid = {
  commonName: "2.5.4.3",
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyIdentifier: "2.5.29.35",
  extKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
} as const;

/** A new ECDSA P-256 key, as PKCS #8 PEM. */
export async function newKey(): Promise<string> {
  const { privateKey } = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  return pem("PRIVATE KEY", await webcrypto.subtle.exportKey("pkcs8", privateKey));
}

/** A certificate authority that may sign servers and no further authorities (path length 0). */
export async function issueAuthority(options: {
  readonly keyPem: string;
  readonly nowMs: number;
  readonly endMs: number;
}): Promise<string> {
  const key = await importKey(options.keyPem);
  const certificate = await blank({ ...options, name: "Millrace farm CA", publicKey: key.publicKey });
  certificate.issuer = certificate.subject;
  certificate.extensions = [
    extension(oid.basicConstraints, true, new BasicConstraints({ cA: true, pathLenConstraint: 0 }).toSchema()),
    extension(oid.keyUsage, true, bits(0b0000_0110, 1)), // keyCertSign, cRLSign
    extension(oid.subjectKeyIdentifier, false, new OctetString({ valueHex: await keyIdentifier(certificate) })),
  ];
  return signed(certificate, key.privateKey);
}

/** The server's certificate, as PEM, without that of the authority. */
export async function issueServerCertificate(options: ServerCertificateOptions): Promise<string> {
  const { authority, names } = options;
  const key = await importKey(options.keyPem);
  const signer = await importKey(authority.keyPem);
  const issuer = Certificate.fromBER(derOf(authority.certPem));
  const certificate = await blank({ ...options, name: "Millrace coordinator", publicKey: key.publicKey });
  certificate.issuer = issuer.subject;
  const authorityKey = new AuthorityKeyIdentifier({
    keyIdentifier: new OctetString({ valueHex: await keyIdentifier(issuer) }),
  });
  certificate.extensions = [
    extension(oid.basicConstraints, true, new BasicConstraints({ cA: false }).toSchema()),
    extension(oid.keyUsage, true, bits(0b1000_0000, 7)), // digitalSignature
    extension(oid.extKeyUsage, false, new ExtKeyUsage({ keyPurposes: [oid.serverAuth] }).toSchema()),
    extension(oid.subjectAltName, false, new GeneralNames({ names: names.map(generalName) }).toSchema()),
    extension(oid.subjectKeyIdentifier, false, new OctetString({ valueHex: await keyIdentifier(certificate) })),
    extension(oid.authorityKeyIdentifier, false, authorityKey.toSchema()),
  ];
  return signed(certificate, signer.privateKey);
}

interface BlankOptions {
  readonly name: string;
  readonly publicKey: webcrypto.CryptoKey;
  readonly nowMs: number;
  readonly endMs: number;
}

async function blank({ name, publicKey, nowMs, endMs }: BlankOptions): Promise<Certificate> {
  const certificate = new Certificate();
  certificate.version = 2; // X.509 v3
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40; // positive and without leading zeros
  certificate.serialNumber = new Integer({ valueHex: new Uint8Array(serial).buffer });
  certificate.subject.typesAndValues = [
    new AttributeTypeAndValue({ type: oid.commonName, value: new Utf8String({ value: name }) }),
  ];
  certificate.notBefore = new Time({ value: new Date(nowMs - limits.tlsClockSkewMs) });
  certificate.notAfter = new Time({ value: new Date(endMs) });
  await certificate.subjectPublicKeyInfo.importKey(publicKey, engine);
  return certificate;
}

async function signed(certificate: Certificate, key: webcrypto.CryptoKey): Promise<string> {
  await certificate.sign(key, "SHA-256", engine);
  return pem("CERTIFICATE", certificate.toSchema(true).toBER());
}

function extension(extnID: string, critical: boolean, value: { toBER(): ArrayBuffer }): Extension {
  return new Extension({ extnID, critical, extnValue: value.toBER() });
}

/** A BIT STRING of one byte, as KeyUsage is. */
function bits(byte: number, unusedBits: number): BitString {
  return new BitString({ valueHex: new Uint8Array([byte]).buffer, unusedBits });
}

/** By RFC 5280, 4.2.1.2, method 1: the SHA-1 of the public key's bits. An identifier and no protection. */
async function keyIdentifier(certificate: Certificate): Promise<ArrayBuffer> {
  const { subjectPublicKey } = certificate.subjectPublicKeyInfo;
  return webcrypto.subtle.digest("SHA-1", subjectPublicKey.valueBlock.valueHexView);
}

/** Types of GeneralName in RFC 5280. */
const dnsName = 2;
const ipAddress = 7;

function generalName(name: string): GeneralName {
  const kind = isIP(name);
  if (kind === 0) return new GeneralName({ type: dnsName, value: name });
  const bytes = kind === 4 ? ipv4Bytes(name) : ipv6Bytes(name);
  return new GeneralName({ type: ipAddress, value: new OctetString({ valueHex: new Uint8Array(bytes).buffer }) });
}

function ipv4Bytes(address: string): number[] {
  return address.split(".").map(Number);
}

/** Of an address that `isIP` accepted; the part after "%" names an interface of this machine and is nothing to others. */
function ipv6Bytes(address: string): number[] {
  const [bare = ""] = address.split("%", 1);
  const [head = "", tail] = bare.replace(/(\d+\.\d+\.\d+\.\d+)$/, ipv4AsGroups).split("::");
  const groups = (text: string) => (text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16)));
  const [before, after] = [groups(head), groups(tail ?? "")];
  const zeros = Array<number>(8 - before.length - after.length).fill(0);
  return [...before, ...zeros, ...after].flatMap((group) => [group >> 8, group & 0xff]);
}

function ipv4AsGroups(address: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = ipv4Bytes(address);
  return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}

async function importKey(keyPem: string) {
  const der = derOf(keyPem);
  const privateKey = await webcrypto.subtle.importKey("pkcs8", der, algorithm, true, ["sign"]);
  const { d: _secret, key_ops: _uses, ...publicJwk } = await webcrypto.subtle.exportKey("jwk", privateKey);
  const publicKey = await webcrypto.subtle.importKey("jwk", publicJwk, algorithm, true, ["verify"]);
  return { privateKey, publicKey };
}

function derOf(text: string): Uint8Array<ArrayBuffer> {
  const body = /-----BEGIN [A-Z ]+-----([\s\S]*?)-----END/.exec(text)?.[1];
  if (body === undefined) throw new MillraceError("invalid_argument", "this is not PEM");
  return new Uint8Array(Buffer.from(body, "base64"));
}

function pem(label: string, der: ArrayBuffer): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
