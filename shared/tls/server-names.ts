import { isIP } from "node:net";
import type { NetworkInterfaceInfo } from "node:os";
import { limits } from "../limits.ts";
import { isAnyAddress } from "../network-address.ts";

export interface ServerNamesOptions {
  /** What the servers listen on; 0.0.0.0 and :: are no names. */
  readonly host: string;
  /** What others are told to connect to. */
  readonly advertise: string | undefined;
  /** As `os.hostname` and `os.networkInterfaces` give them. */
  readonly hostname: string;
  readonly interfaces: Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;
}

/** The names that a server's certificate is for: all by which this machine can be reached, those that were given first. */
export function serverNames({ host, advertise, hostname, interfaces }: ServerNamesOptions): string[] {
  const given = [advertise, host].filter((name) => name !== undefined && !isAnyAddress(name));
  const addresses = Object.values(interfaces)
    .flatMap((each) => each ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith("fe80:")) // link-local: of no use to others
    .map(({ address }) => address);
  const names = [...given, "localhost", "127.0.0.1", "::1", hostname, ...addresses].filter(isName);
  return [...new Set(names.map((name) => name.toLowerCase()))].slice(0, limits.tlsServerNames);
}

/** What a certificate can hold: an address, or a DNS name in ASCII. */
function isName(name: string | undefined): name is string {
  if (name === undefined) return false;
  return isIP(name) !== 0 || /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*$/i.test(name);
}
