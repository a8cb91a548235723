import { BlockList, isIP } from "node:net";
import { MillraceError } from "../../shared/errors.ts";

/** @throws MillraceError invalid_argument, with the reason, when others could listen in and nobody allowed it. */
export function requireSafeHost(host: string, insecure: boolean): void {
  if (insecure || isLoopback(host)) return;
  throw new MillraceError(
    "invalid_argument",
    `--host ${host} would send tokens, sources and logs in the clear over the network: this version has no TLS yet.\n` +
      "Leave --host out and use a tunnel (ssh, WireGuard), or accept it on a network you trust with --insecure.",
  );
}

/** Where this machine reaches a server that listens on `host`. */
export function localHost(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  return host === "::" ? "::1" : host;
}

/** `host:port`, with brackets around IPv6. */
export function hostPort(host: string, port: number): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

function isLoopback(host: string): boolean {
  if (host === "localhost") return true;
  const kind = isIP(host);
  if (kind === 0) return false;
  const loopback = new BlockList();
  loopback.addSubnet("127.0.0.0", 8, "ipv4");
  loopback.addAddress("::1", "ipv6");
  return loopback.check(host, kind === 6 ? "ipv6" : "ipv4");
}
