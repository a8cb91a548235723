import type { NetworkInterfaceInfo } from "node:os";
import { hostPort, isAnyAddress } from "../../../shared/network-address.ts";

/** Where machines fetch what makes them agents. */
export interface InstallerAddress {
  readonly url: string;
  /** For `curl --pinnedpubkey`; undefined where the machine's own authorities vouch for the server, or nobody does. */
  readonly keyPin: string | undefined;
}

export interface InstallerAddressOptions {
  readonly advertise: string | undefined;
  /** What the server listens on. */
  readonly host: string;
  readonly port: number;
  /** Undefined: plain. */
  readonly tls: { readonly pin: string; readonly authority: unknown } | undefined;
  /** As `os.hostname` and `os.networkInterfaces` give them. */
  readonly hostname: string;
  readonly interfaces: Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;
}

/** By the name that others were told, else by the first address that reaches beyond this machine. */
export function installerAddress(options: InstallerAddressOptions): InstallerAddress {
  const { advertise, host, port, tls, hostname, interfaces } = options;
  const outer = Object.values(interfaces)
    .flatMap((each) => each ?? [])
    .find(({ internal, family, address }) => !internal && (family === "IPv4" || !address.startsWith("fe80:")));
  const name = advertise ?? (isAnyAddress(host) ? (outer?.address ?? hostname) : host);
  const scheme = tls === undefined ? "http" : "https";
  return {
    url: `${scheme}://${hostPort(name, port)}/install.sh`,
    keyPin: tls?.authority === undefined ? undefined : tls.pin,
  };
}
