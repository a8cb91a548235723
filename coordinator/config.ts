import { readFile } from "node:fs/promises";
import { z } from "zod";
import { type ConfigSources, port, readConfig } from "../shared/config.ts";
import { from, MillraceError } from "../shared/errors.ts";
import { type LeaseTimes, leaseTimes } from "../shared/lease-times.ts";
import { limits } from "../shared/limits.ts";
import type { BusAddress } from "./api/grpc/agent-service.ts";

/** What a coordinator needs to know, checked. */
export interface CoordinatorConfig {
  /** Everything that must outlast a restart. */
  readonly data: string;
  readonly host: string;
  readonly grpcPort: number;
  readonly httpPort: number;
  /** How the coordinator reaches the bus, and how agents do. */
  readonly bus: BusAddress;
  readonly agentBus: BusAddress;
  /** Default that of limits.ts. */
  readonly lease: LeaseTimes;
}

const settings = z.object({
  data: z.string().min(1).describe("the folder for everything that must outlast a restart"),
  host: z.string().default("127.0.0.1").describe("the address to listen on"),
  grpcPort: port.default(7070).describe("the port for gRPC, 0 to 65535; 0 takes any free one"),
  httpPort: port.default(7080).describe("the port for HTTP, 0 to 65535; 0 takes any free one"),
  nats: z.string().startsWith("nats://").describe("the NATS server, such as nats://127.0.0.1:7422"),
  lease: z.coerce
    .number("not a number")
    .min(limits.leaseMinMs / 1000, `below ${limits.leaseMinMs / 1000}`)
    .max(limits.leaseMaxMs / 1000, `above ${limits.leaseMaxMs / 1000}`)
    .default(limits.leaseMs / 1000)
    .describe(
      "seconds after which a silent agent is lost and its work is placed again; heartbeats come five times as often, and host operations have three times as long",
    ),
  natsCredentials: z.string().min(1).describe("the file with the users of the NATS server, as `millrace up` writes it"),
});

const credentials = z.object({
  coordinator: z.object({ user: z.string(), password: z.string() }),
  agent: z.object({ user: z.string(), password: z.string() }),
});

/** Throws `invalid_argument` with every problem at once. */
export async function readCoordinatorConfig(sources: ConfigSources): Promise<CoordinatorConfig> {
  const { nats, natsCredentials, lease: leaseS, ...config } = readConfig(settings, sources);
  const { coordinator, agent } = await readCredentials(natsCredentials);
  const lease = leaseTimes(leaseS * 1000);
  return { ...config, lease, bus: { servers: [nats], ...coordinator }, agentBus: { servers: [nats], ...agent } };
}

async function readCredentials(path: string): Promise<z.output<typeof credentials>> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw from(error, `reading the NATS users in ${path}`);
  });
  // Never the text itself in a message: it holds passwords.
  const problem = new MillraceError(
    "invalid_argument",
    `${path} is not {"coordinator": {"user", "password"}, "agent": {"user", "password"}}`,
  );
  const parsed = credentials.safeParse(parseJson(text, problem));
  if (!parsed.success) throw problem;
  return parsed.data;
}

function parseJson(text: string, problem: MillraceError): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw problem;
  }
}
