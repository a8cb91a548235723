import type { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { from, MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import { splitAddress } from "../network-address.ts";

export interface HandshakeOptions extends Pick<ConnectionOptions, "rejectUnauthorized" | "ca" | "checkServerIdentity"> {
  /** Of HTTP, of which the server must speak one; all when not given. */
  readonly protocols?: readonly string[];
  readonly signal?: AbortSignal;
}

/** Makes a TLS connection to `host:port` for one look at it, within `limits.tlsProbeMs`. Nothing but the handshake is sent. */
export async function withHandshake<T>(
  address: string,
  { signal, protocols = ["h2", "http/1.1"], ...options }: HandshakeOptions,
  use: (socket: TLSSocket) => T,
): Promise<T> {
  const { host, port } = splitAddress(address);
  const servername = isIP(host) === 0 ? host : ""; // RFC 6066 has no addresses there
  const socket = connect({ ...options, host, port, servername, ALPNProtocols: [...protocols] });
  const ending = AbortSignal.any([AbortSignal.timeout(limits.tlsProbeMs), ...(signal === undefined ? [] : [signal])]);
  const stop = () => socket.destroy(from(ending.reason));
  ending.addEventListener("abort", stop);
  if (ending.aborted) stop();
  try {
    await secured(socket);
    return use(socket);
  } finally {
    ending.removeEventListener("abort", stop);
    socket.destroy();
  }
}

/**
 * The certificates that a server shows, its own first. They are not checked, but the server has proved in the handshake
 * that it has the key of the first one.
 * @throws MillraceError failed_precondition when it speaks something else, unavailable when it cannot be reached
 */
export async function shownBy(address: string, signal?: AbortSignal): Promise<X509Certificate[]> {
  try {
    return await withHandshake(address, { rejectUnauthorized: false, ...(signal && { signal }) }, chainOf);
  } catch (error) {
    throw notShown(address, error);
  }
}

/** OpenSSL's messages have several lines, of which one word in the middle is for people. */
export function reasonOf(error: unknown): string {
  if (error instanceof Error && "reason" in error && typeof error.reason === "string") return error.reason;
  return from(error).message;
}

function secured(socket: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.on("error", reject); // stays: an error after the end of the handshake is of no interest
    socket.once("close", () => reject(new MillraceError("unavailable", "the connection was closed")));
  });
}

function chainOf(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let next = socket.getPeerX509Certificate();
  while (next !== undefined && chain.length < limits.tlsChain) {
    chain.push(next);
    next = next.issuerCertificate;
  }
  return chain;
}

function notShown(address: string, error: unknown): MillraceError {
  const failure = from(error, `looking at the certificate of ${address}`);
  if (failure.code === "canceled" || failure.code === "deadline_exceeded") return failure;
  if (!isProtocolError(error)) return new MillraceError("unavailable", failure.message, { cause: error });
  return new MillraceError(
    "failed_precondition",
    `${address} does not speak TLS (${reasonOf(error)}). Is it the right port? If the farm was started with --insecure, ` +
      "leave out --tls-ca and the end of the token, from the dot on: everything then crosses the network in the clear.",
    { cause: error },
  );
}

/** Bytes came that are no TLS. A connection that just ends is none: it may be that of a server which stops. */
function isProtocolError(error: unknown): boolean {
  return error instanceof Error && "code" in error && /^(ERR_SSL_|EPROTO$)/.test(String(error.code));
}
