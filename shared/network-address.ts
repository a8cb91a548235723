import { BlockList, isIP } from "node:net";
import { MillraceError } from "./errors.ts";

/** `host:port`, with brackets around IPv6. */
export function hostPort(host: string, port: number): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * Host, without the brackets of IPv6, and port of `host:port`. Throws `invalid_argument` when it is neither. gRPC's form of a
 * socket in a folder passes, as in `unix:/run/farm/host:7070`: all up to the port is its host.
 */
export function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, port] = /^(?:\[([^\s/]+)\]|(unix:\S+|[^\s/]+)):(\d{1,5})$/.exec(address) ?? [];
  const host = bracketed ?? plain;
  if (host !== undefined && Number(port) <= 65_535) return { host, port: Number(port) };
  throw new MillraceError("invalid_argument", `"${address}" is not host:port`);
}

/** Whether nobody outside of this machine can connect to a server that listens on this address. */
export function isLoopback(host: string): boolean {
  if (host === "localhost") return true;
  const kind = isIP(host);
  if (kind === 0) return false;
  const loopback = new BlockList();
  loopback.addSubnet("127.0.0.0", 8, "ipv4");
  loopback.addAddress("::1", "ipv6");
  return loopback.check(host, kind === 6 ? "ipv6" : "ipv4");
}

/** Whether a server that listens on this address listens on all of its machine. */
export function isAnyAddress(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

/** Where this machine reaches a server that listens on `host`. */
export function localHost(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  return host === "::" ? "::1" : host;
}
