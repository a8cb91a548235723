import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type ConfigSources, port, readConfig } from "../shared/config.ts";
import { from, MillraceError } from "../shared/errors.ts";
import { type LeaseTimes, leaseTimes } from "../shared/lease-times.ts";
import { limits } from "../shared/limits.ts";
import { readDuration } from "../shared/pipeline/duration.ts";
import { chooseServerTls } from "../shared/tls/choose-server-tls.ts";
import { readCa } from "../shared/tls/obtain-trust.ts";
import type { ServerTls } from "../shared/tls/server-tls.ts";
import { authorityTrust, type Trust } from "../shared/tls/trust.ts";
import type { BusAddress } from "./api/grpc/agent-service.ts";
import type { ManagedNats } from "./farm/agents/nats-bus-users.ts";

/** What a coordinator needs to know, checked. */
export interface CoordinatorConfig {
  /** Everything that must outlast a restart. */
  readonly data: string;
  /** Folder with the programs that agents are installed from; undefined for our own. */
  readonly dist?: string | undefined;
  readonly host: string;
  readonly grpcPort: number;
  readonly httpPort: number;
  /** What others are told to connect to, where that is not `host`. */
  readonly advertise: string | undefined;
  /** With what the servers show who they are; undefined: plain. */
  readonly tls: ServerTls | undefined;
  /** Of the farm's own CA: to be kept as long as `data`, or tokens name a CA that is no more. */
  readonly tlsDir: string;
  /** How the coordinator reaches the bus, and how agents do. */
  readonly bus: BusAddress & { readonly trust: Trust | undefined };
  readonly agentBus: BusAddress;
  /** Where the users of the NATS server are ours to say; undefined: all agents share one. */
  readonly managedNats?: ManagedNatsConfig | undefined;
  /** Default that of limits.ts. */
  readonly lease: LeaseTimes;
  readonly keeping: KeepingConfig;
  /** Holds the key under which secrets are stored. */
  readonly secretKeyFile: string;
  /** Removes all secrets at the start. */
  readonly forgetSecrets: boolean;
  /** A shell that nothing goes through for so long is ended, in milliseconds. */
  readonly shellIdle: number;
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
  readonly keepLostAgentsFor: number;
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
  keepLostAgentsFor: keptFor(limits.lostAgentKeptMs, "agents that are lost stay enrolled"),
};

function keptFor(defaultMs: number, what: string) {
  return z.union([unbounded, time]).default(defaultMs).describe(`how long ${what}, such as 90d, or unbounded`);
}

/** An embedded nats-server, with a user of its system account. */
export interface ManagedNatsConfig extends ManagedNats {
  readonly monitor: { readonly user: string; readonly password: string };
}

const natsUrl = z.string().regex(/^(nats|tls):\/\/.+:\d+$/, "not nats://HOST:PORT or tls://HOST:PORT");

const settings = z.object({
  data: z.string().min(1).describe("the folder for everything that must outlast a restart"),
  dist: z.string().min(1).optional().describe("the folder with the programs that agents are installed from"),
  host: z.string().default("127.0.0.1").describe("the address to listen on"),
  grpcPort: port.default(7070).describe("the port for gRPC, 0 to 65535; 0 takes any free one"),
  httpPort: port.default(7080).describe("the port for HTTP, 0 to 65535; 0 takes any free one"),
  advertise: z.string().min(1).optional().describe("what others are told to connect to, such as farm.example.org"),
  insecure: z.stringbool().or(z.boolean()).default(false).describe("true or false: no TLS beyond this machine"),
  tlsCert: z.string().min(1).optional().describe("a file with the server's certificate and its chain, as PEM"),
  tlsKey: z.string().min(1).optional().describe("a file with the key of that certificate, as PEM"),
  tlsDir: z.string().min(1).optional().describe("the folder of the farm's own CA; `tls` in --data when not given"),
  nats: natsUrl.describe("the NATS server, such as nats://127.0.0.1:7422, or tls://nats.example.org:4222"),
  agentNats: z.array(natsUrl).optional().describe("the same as agents reach it; as --nats when not given"),
  natsCa: z
    .string()
    .min(1)
    .optional()
    .describe(
      "by whom a NATS server with tls:// is vouched for: `system` or a file; as the coordinator when not given",
    ),
  lease: z.coerce
    .number("not a number")
    .min(limits.leaseMinMs / 1000, `below ${limits.leaseMinMs / 1000}`)
    .max(limits.leaseMaxMs / 1000, `above ${limits.leaseMaxMs / 1000}`)
    .default(limits.leaseMs / 1000)
    .describe(
      "seconds after which a silent agent is lost and its work is placed again; heartbeats come five times as often, and host operations have three times as long",
    ),
  secretKeyFile: z
    .string()
    .min(1)
    .optional()
    .describe("the file with the key of the secrets; `secret.key` in --data when not given"),
  forgetSecrets: z.stringbool().or(z.boolean()).default(false).describe("true or false: remove all secrets first"),
  natsCredentials: z.string().min(1).describe("the file with the users of the NATS server, as `millrace up` writes it"),
  shellIdle: time
    .default(limits.shellIdleMs)
    .describe("a shell in which nothing happens is ended after it, such as 30m"),
  ...keepingSettings,
});

const natsUser = z.object({ user: z.string().min(1), password: z.string().min(1) });

const credentials = z.union([
  z.strictObject({ coordinator: natsUser, agent: natsUser }),
  z.strictObject({
    coordinator: natsUser,
    managed: z.object({ monitor: natsUser, usersFile: z.string().min(1), pidFile: z.string().min(1) }),
  }),
]);

/**
 * Makes the farm's own CA when it listens beyond loopback for the first time.
 * @throws MillraceError invalid_argument with every problem at once; what `chooseServerTls` throws
 */
export async function readCoordinatorConfig(sources: ConfigSources): Promise<CoordinatorConfig> {
  const read = readConfig(settings, sources);
  const { data, dist, host, grpcPort, httpPort, advertise, insecure, tlsCert, tlsKey, lease, ...rest } = read;
  const { tlsDir = join(data, "tls"), nats, agentNats, natsCa, natsCredentials, ...others } = rest;
  const { secretKeyFile = join(data, "secret.key"), forgetSecrets, shellIdle, ...keeping } = others;
  const users = await readCredentials(natsCredentials);
  const { coordinator } = users;
  const tls = await chooseServerTls({ host, advertise, insecure, tlsCert, tlsKey, folder: tlsDir });
  const ca = natsCa === undefined || natsCa === "system" ? natsCa : readCa("--nats-ca", natsCa);
  const servers = agentNats ?? [nats];
  return {
    ...{ data, dist, host, grpcPort, httpPort, advertise, tls, tlsDir, lease: leaseTimes(lease * 1000), keeping },
    ...{ secretKeyFile, forgetSecrets, shellIdle },
    bus: { servers: [nats], ...coordinator, trust: nats.startsWith("tls:") ? busTrust(ca, tls) : undefined },
    ...("agent" in users
      ? { agentBus: { servers, ...users.agent, ca } }
      : { agentBus: { servers, user: "", password: "", ca }, managedNats: { coordinator, ...users.managed } }),
  };
}

/** @param ca what the setting `natsCa` says, read */
function busTrust(ca: string | undefined, tls: ServerTls | undefined): Trust {
  if (ca !== undefined) return { caPem: ca === "system" ? undefined : ca, checksName: true };
  if (tls?.authority !== undefined) return authorityTrust(tls.authority.caPem);
  return { caPem: undefined, checksName: true };
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
