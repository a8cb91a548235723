import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { MillraceError } from "../../shared/errors.ts";
import { writePrivateFile } from "../../shared/private-file.ts";

/** The ports of one data folder, kept there so that a restarted part is found again where it was. */
export interface Ports {
  readonly grpc: number;
  readonly http: number;
  readonly nats: number;
}

export const defaultPorts: Ports = { grpc: 7070, http: 7080, nats: 7422 };

/** What the flags ask for; undefined is "as before, else the default", 0 "as before, else any free one". */
export type WantedPorts = { readonly [Name in keyof Ports]: number | undefined };

/**
 * The ports to start with: 0 where the system shall choose.
 * @throws MillraceError failed_precondition, naming the flag, when a port that was asked for is taken.
 */
export async function choosePorts(dataDir: string, host: string, wanted: WantedPorts): Promise<Ports> {
  const before = readPorts(dataDir);
  const choose = async (name: keyof Ports): Promise<number> => {
    const asked = wanted[name];
    if (asked !== undefined && asked !== 0) {
      await requireFree(asked, host, name);
      return asked;
    }
    const kept = before?.[name];
    if (kept !== undefined && (await isFree(kept, host))) return kept;
    if (asked === 0) return 0;
    await requireFree(defaultPorts[name], host, name);
    return defaultPorts[name];
  };
  return {
    grpc: await choose("grpc"),
    http: await choose("http"),
    nats: await choose("nats"),
  };
}

export function keepPorts(dataDir: string, ports: Ports): void {
  writePrivateFile(portsFile(dataDir), `${JSON.stringify(ports)}\n`);
}

function readPorts(dataDir: string): Partial<Ports> | undefined {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(portsFile(dataDir), "utf8"));
  } catch {
    return undefined; // The first start, or a file that was cut off: ports are chosen anew.
  }
  if (typeof value !== "object" || value === null) return undefined;
  const entries = Object.entries(value).filter(([, port]) => Number.isInteger(port) && port > 0 && port < 65_536);
  return Object.fromEntries(entries);
}

function portsFile(dataDir: string): string {
  return join(dataDir, "ports.json");
}

async function requireFree(port: number, host: string, name: keyof Ports): Promise<void> {
  if (await isFree(port, host)) return;
  throw new MillraceError(
    "failed_precondition",
    `port ${port} is in use by another program. Choose another with --${name}-port P, or any free one with --${name}-port 0.`,
  );
}

async function isFree(port: number, host: string): Promise<boolean> {
  const server = createServer();
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  server.once("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EADDRINUSE") resolve(false);
    else reject(new MillraceError("invalid_argument", `cannot listen on ${host}:${port}: ${error.message}`));
  });
  server.listen(port, host, () => server.close(() => resolve(true)));
  return promise;
}
