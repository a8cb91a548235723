import type { X509Certificate } from "node:crypto";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { MillraceError } from "../errors.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { shownBy } from "./handshake.ts";

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

/** How Node's TLS checks the server by `trust`; spread into the options of a connection to any of the hosts. */
export function verification({ caPem, checksName }: Trust, hosts: readonly string[]) {
  const wrongName = (certificate: PeerCertificate): Error | undefined => {
    const problems = hosts.map((host) => checkServerIdentity(host, certificate));
    return problems.includes(undefined) ? undefined : problems[0];
  };
  return {
    ...(caPem === undefined ? {} : { ca: caPem }),
    checkServerIdentity: (_name: string, certificate: PeerCertificate) =>
      checksName ? wrongName(certificate) : undefined,
  };
}

/** Another CA than the one that is expected: the farm was made anew, or somebody stands between. */
export function otherFarm(address: string, fingerprint: string, chain: readonly X509Certificate[]): MillraceError {
  const last = chain.at(-1);
  const shown = last === undefined ? "nothing" : `the CA ${fingerprintOf(last)}`;
  return new MillraceError(
    "unauthenticated",
    `${address} is not the farm that the token is for: it shows ${shown}, not ${fingerprint}. Nothing was sent to it. ` +
      "Either the address is wrong, or the farm was made anew and you need a new token (`millrace token create` there), or " +
      "somebody stands between you and the farm.",
  );
}
