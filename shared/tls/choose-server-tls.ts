import { hostname, networkInterfaces } from "node:os";
import { MillraceError } from "../errors.ts";
import { makeFolder } from "../make-folder.ts";
import { isLoopback } from "../network-address.ts";
import { serverNames } from "./server-names.ts";
import { readServerTls, type ServerTls } from "./server-tls.ts";

export interface ServerTlsSettings {
  /** What the servers listen on. */
  readonly host: string;
  /** What others are told to connect to, where that is not `host`. */
  readonly advertise: string | undefined;
  /** Plain also beyond loopback. */
  readonly insecure: boolean;
  /** The operator's own certificate. */
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  /** For the farm's own CA. */
  readonly folder: string;
}

/**
 * With what the servers of this process show who they are: the operator's certificate where there is one, else beyond
 * loopback one of the farm's own CA, which is made when it is not there. Undefined is plain.
 * @throws MillraceError invalid_argument for settings that contradict each other; what `openAuthority` and `readServerTls` throw
 */
export async function chooseServerTls(settings: ServerTlsSettings): Promise<ServerTls | undefined> {
  const { host, advertise, insecure, tlsCert, tlsKey, folder } = settings;
  if (tlsCert !== undefined && tlsKey !== undefined) {
    if (!insecure) return readServerTls({ certFile: tlsCert, keyFile: tlsKey });
    throw new MillraceError("invalid_argument", "--insecure and --tls-cert contradict each other: leave one out");
  }
  if (tlsCert !== undefined || tlsKey !== undefined) {
    throw new MillraceError("invalid_argument", "--tls-cert and --tls-key belong together: give both");
  }
  if (insecure || isLoopback(host)) return undefined;
  // Making certificates takes a library that a farm on loopback need not load.
  const { openAuthority } = await import("./authority.ts");
  const names = serverNames({ host, advertise, hostname: hostname(), interfaces: networkInterfaces() });
  makeFolder(folder);
  return openAuthority({ folder, names, nowMs: Date.now() });
}
