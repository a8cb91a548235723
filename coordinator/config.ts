import { readFile } from "node:fs/promises";
import { z } from "zod";
import { type ConfigSources, port, readConfig } from "../shared/config.ts";
import { from, MillraceError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { readDuration } from "../shared/pipeline/duration.ts";
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
  readonly keeping: KeepingConfig;
}

/** How much is kept, and for how long. `Infinity` is without a bound. */
export interface KeepingConfig {
  readonly casMaxBytes: number;
  /** What somebody was told to be in the store stays for so long after its last use. */
  readonly casIdle: number;
  readonly keepRuns: number;
  readonly keepRunsFor: number;
  readonly keepLogsFor: number;
  readonly keepArtifactsFor: number;
  readonly keepCacheFor: number;
}

const unbounded = z.literal("unbounded").transform(() => Number.POSITIVE_INFINITY);

const count = z
  .string()
  .regex(/^\d{1,15}$/, "not a whole number")
  .transform(Number);

const time = z.string().transform((text, context) => {
  const reading = readDuration(text);
  if ("value" in reading) return reading.value;
  context.addIssue({ code: "custom", message: "not a time" });
  return z.NEVER;
});

/** The defaults keep what people look back for, and let the store grow as long as its disk has room. */
const keepingSettings = {
  casMaxBytes: z
    .union([unbounded, count])
    .default(Number.POSITIVE_INFINITY)
    .describe("what the store of blobs may take on disk, in bytes, or unbounded"),
  casIdle: time.default(limits.casPromiseMs).describe("how long a blob stays after its last use at least, such as 3h"),
  keepRuns: z
    .union([unbounded, count])
    .default(limits.keptRuns)
    .describe("how many finished runs of a project are kept, or unbounded"),
  keepRunsFor: keptFor(limits.keptRunsMs, "finished runs are kept"),
  keepLogsFor: keptFor(limits.keptLogsMs, "the logs of finished runs are kept"),
  keepArtifactsFor: keptFor(limits.keptArtifactsMs, "artifacts are kept after their run has finished"),
  keepCacheFor: keptFor(limits.keptCacheMs, "cached results and blobs are kept after their last use"),
};

function keptFor(defaultMs: number, what: string) {
  return z.union([unbounded, time]).default(defaultMs).describe(`how long ${what}, such as 90d, or unbounded`);
}

const settings = z.object({
  data: z.string().min(1).describe("the folder for everything that must outlast a restart"),
  host: z.string().default("127.0.0.1").describe("the address to listen on"),
  grpcPort: port.default(7070).describe("the port for gRPC, 0 to 65535; 0 takes any free one"),
  httpPort: port.default(7080).describe("the port for HTTP, 0 to 65535; 0 takes any free one"),
  nats: z.string().startsWith("nats://").describe("the NATS server, such as nats://127.0.0.1:7422"),
  natsCredentials: z.string().min(1).describe("the file with the users of the NATS server, as `millrace up` writes it"),
  ...keepingSettings,
});

const credentials = z.object({
  coordinator: z.object({ user: z.string(), password: z.string() }),
  agent: z.object({ user: z.string(), password: z.string() }),
});

/** Throws `invalid_argument` with every problem at once. */
export async function readCoordinatorConfig(sources: ConfigSources): Promise<CoordinatorConfig> {
  const { nats, natsCredentials, data, host, grpcPort, httpPort, ...keeping } = readConfig(settings, sources);
  const { coordinator, agent } = await readCredentials(natsCredentials);
  return {
    ...{ data, host, grpcPort, httpPort, keeping },
    bus: { servers: [nats], ...coordinator },
    agentBus: { servers: [nats], ...agent },
  };
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
