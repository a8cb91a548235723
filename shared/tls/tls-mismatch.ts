import type { X509Certificate } from "node:crypto";
import { from, MillraceError } from "../errors.ts";
import { splitAddress } from "../network-address.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { reasonOf, shownBy, withHandshake } from "./handshake.ts";
import { otherFarm, type Trust, verification } from "./trust.ts";

/**
 * For a call that found nobody: whether TLS is the reason, in words for a person. Looks at the server once more, by
 * handshakes that send nothing.
 * @returns undefined when it is not the reason, or that cannot be told now
 */
export async function tlsMismatch(address: string, trust: Trust | undefined): Promise<MillraceError | undefined> {
  let chain: readonly X509Certificate[];
  try {
    chain = await shownBy(address);
  } catch (error) {
    const failure = from(error);
    // Without trust it is right that the port is plain; else nobody there is no question of TLS.
    return trust !== undefined && failure.code === "failed_precondition" ? failure : undefined;
  }
  if (trust === undefined) return unexpectedTls(address);
  try {
    const checks = verification(trust, [splitAddress(address).host]);
    await withHandshake(address, { ...checks, protocols: ["h2"] }, () => undefined);
    return undefined;
  } catch (error) {
    return isFleeting(error) ? undefined : notAccepted({ address, trust, chain, error });
  }
}

function isFleeting(error: unknown): boolean {
  const { code } = from(error);
  return code === "unavailable" || code === "deadline_exceeded";
}

function unexpectedTls(address: string): MillraceError {
  return new MillraceError(
    "unauthenticated",
    `${address} speaks TLS, and the token does not say whose: it was not sent. Use a token as \`millrace token create\` ` +
      "prints it, with a dot and 43 characters at its end. Where the farm has a certificate of its operator's, say by whom " +
      "it is signed: --tls-ca system, or --tls-ca FILE.",
  );
}

interface RefusedServer {
  readonly address: string;
  readonly trust: Trust;
  readonly chain: readonly X509Certificate[];
  readonly error: unknown;
}

function notAccepted({ address, trust, chain, error }: RefusedServer): MillraceError {
  if (trust.caPem !== undefined && !trust.checksName) {
    const expected = fingerprintOf(trust.caPem);
    if (!chain.some((certificate) => fingerprintOf(certificate) === expected))
      return otherFarm(address, expected, chain);
  }
  if (error instanceof Error && "code" in error && error.code === "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL") {
    const message = `${address} speaks TLS and no gRPC: give the address of the gRPC port (7070 where nobody chose another)`;
    return new MillraceError("failed_precondition", message, { cause: error });
  }
  return new MillraceError(
    "unauthenticated",
    `the certificate of ${address} is not accepted: ${reasonOf(error)}. Nothing was sent. Check the name by which you reach ` +
      "the farm, the clock of this machine, and --tls-ca.",
    { cause: error },
  );
}
