import type { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { checkServerIdentity, connect, type PeerCertificate, type TLSSocket } from "node:tls";
import { from, MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import { fingerprintOf } from "./fingerprint.ts";

/** By whom a client lets itself be told who the other side is. */
export interface Trust {
  /** Certificates of authorities; undefined: those that this machine trusts. */
  readonly caPem: string | undefined;
  /**
   * Whether the certificate must be for the name that was dialled. Not with the farm's own CA: it signs the coordinator's
   * servers and nothing else, so to be signed by it is to be the farm, behind whatever name or address translation.
   */
  readonly checksName: boolean;
}

export interface TrustOfOptions {
  /** `host:port` of a server of the farm. */
  readonly address: string;
  /** Of the farm's own CA, from a token. */
  readonly fingerprint: string;
  readonly signal?: AbortSignal;
}

/**
 * Finds the CA that a token names among the certificates that the farm shows, so that one line with a token is all that a
 * machine must be given. Nothing is sent to the server but the handshake.
 * @throws MillraceError unauthenticated when it shows another CA, failed_precondition when it speaks no TLS,
 *   unavailable when it cannot be reached
 */
export async function trustOf({ address, fingerprint, signal }: TrustOfOptions): Promise<Trust> {
  const chain = await shownBy(address, signal);
  const ca = chain.find((certificate) => fingerprintOf(certificate) === fingerprint);
  const [leaf] = chain;
  if (ca === undefined || leaf === undefined || !leaf.checkIssued(ca) || !leaf.verify(ca.publicKey)) {
    throw otherFarm(address, fingerprint, chain);
  }
  return authorityTrust(ca.toString());
}

/** Of who knows the farm's own CA. */
export function authorityTrust(caPem: string): Trust {
  return { caPem, checksName: false };
}

/** How a client of Node's TLS checks the server by `trust`; spread into the options of `tls.connect` and its like. */
export function verification({ caPem, checksName }: Trust, host: string) {
  return {
    ...(caPem === undefined ? {} : { ca: caPem }),
    checkServerIdentity: (_name: string, certificate: PeerCertificate): Error | undefined =>
      checksName ? checkServerIdentity(host, certificate) : undefined,
  };
}

/** What to name in the handshake: RFC 6066 has no addresses there. */
export function serverNameOf(host: string): string {
  return isIP(host) === 0 ? host : "";
}

/** `host` and `port` of `host:port`; without the brackets of IPv6. */
export function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|(.+)):(\d+)$/.exec(address) ?? [];
  const host = bracketed ?? plain;
  if (host !== undefined && port !== undefined) return { host, port: Number(port) };
  throw new MillraceError("invalid_argument", `"${address}" is not host:port`);
}

/**
 * The certificates that a server shows, its own first. They are not checked, but the server has proved in the handshake
 * that it has the key of the first one.
 */
export async function shownBy(address: string, signal?: AbortSignal): Promise<X509Certificate[]> {
  const { host, port } = splitAddress(address);
  const socket = connect({
    host,
    port,
    servername: serverNameOf(host),
    rejectUnauthorized: false,
    ALPNProtocols: ["h2", "http/1.1"],
  });
  const timeout = AbortSignal.timeout(limits.tlsProbeMs);
  const stop = () => socket.destroy(from((signal?.aborted ? signal : timeout).reason));
  for (const each of [signal, timeout]) each?.addEventListener("abort", stop);
  if (signal?.aborted) stop();
  let connected = false;
  socket.once("connect", () => {
    connected = true;
  });
  try {
    await secured(socket);
    return chainOf(socket);
  } catch (error) {
    throw notShown(address, error, connected);
  } finally {
    for (const each of [signal, timeout]) each?.removeEventListener("abort", stop);
    socket.destroy();
  }
}

function secured(socket: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.on("error", reject); // stays: an error after the end of the handshake is of no interest
    socket.once("close", () => reject(new MillraceError("unavailable", "the connection was closed")));
  });
}

function notShown(address: string, error: unknown, connected: boolean): MillraceError {
  const failure = from(error, `looking at the certificate of ${address}`);
  if (failure.code === "canceled" || failure.code === "deadline_exceeded") return failure;
  if (connected) {
    // Whoever takes connections and cannot do a handshake speaks something else.
    return new MillraceError(
      "failed_precondition",
      `${address} does not speak TLS (${reasonOf(error)}). Is it the right port? If the farm was started with ` +
        "--insecure, use the token without its end, from the dot on: everything then crosses the network in the clear.",
      { cause: error },
    );
  }
  return new MillraceError("unavailable", failure.message, { cause: error });
}

/** OpenSSL's messages have several lines, of which one word in the middle is for people. */
function reasonOf(error: unknown): string {
  if (error instanceof Error && "reason" in error && typeof error.reason === "string") return error.reason;
  return from(error).message;
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

/** Another CA than the one that is expected: the farm was made anew, or somebody stands between. */
export function otherFarm(address: string, fingerprint: string, chain: readonly X509Certificate[]): MillraceError {
  const last = chain.at(-1);
  const shown = last === undefined ? "nothing" : fingerprintOf(last);
  return new MillraceError(
    "unauthenticated",
    `${address} is not the farm that the token is for: it shows the CA ${shown}, not ${fingerprint}. Nothing was sent to it. ` +
      "Either the address is wrong, or the farm was made anew and you need a new token (`millrace token create` there), or " +
      "somebody stands between you and the farm.",
  );
}
