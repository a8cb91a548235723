import { hostname, networkInterfaces } from "node:os";
import { join } from "node:path";
import type { DescService } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import type { Logger } from "pino";
import {
  ActionCache as ActionCacheService,
  Capabilities,
  ContentAddressableStorage,
} from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ByteStream } from "../proto/gen/google/bytestream/bytestream_pb.ts";
import { Health } from "../proto/gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../proto/gen/grpc/reflection/v1/reflection_pb.ts";
import { AdminService } from "../proto/gen/millrace/v1/admin_pb.ts";
import { AgentService } from "../proto/gen/millrace/v1/agent_pb.ts";
import { EnvironmentService } from "../proto/gen/millrace/v1/environment_pb.ts";
import { FlowService } from "../proto/gen/millrace/v1/flow_pb.ts";
import { LogService } from "../proto/gen/millrace/v1/log_pb.ts";
import { PoolService } from "../proto/gen/millrace/v1/pool_pb.ts";
import { RunService } from "../proto/gen/millrace/v1/run_pb.ts";
import { connectNatsBus } from "../shared/bus/nats-bus.ts";
import { openDiskCas } from "../shared/cas/disk-cas.ts";
import { diskCasSchema } from "../shared/cas/disk-index.ts";
import { verifyingCas } from "../shared/cas/verifying-cas.ts";
import { type Clock, systemClock } from "../shared/clock.ts";
import { diskSpace } from "../shared/disk-space.ts";
import { type Component, type Lifecycle, lifecycle } from "../shared/lifecycle.ts";
import { limits } from "../shared/limits.ts";
import { openDiskReserve, reservedSqlite } from "../shared/sqlite/disk-reserve.ts";
import { lockFolder } from "../shared/sqlite/folder-lock.ts";
import { openSqlite } from "../shared/sqlite/open.ts";
import type { Sqlite } from "../shared/sqlite/sqlite.ts";
import { version } from "../shared/version.ts";
import { rolesOf } from "./api/access.ts";
import { authenticator } from "./api/authenticate.ts";
import { actionCacheService } from "./api/grpc/action-cache-service.ts";
import { adminService } from "./api/grpc/admin-service.ts";
import { agentService } from "./api/grpc/agent-service.ts";
import { byteStreamService } from "./api/grpc/byte-stream-service.ts";
import { capabilitiesService } from "./api/grpc/capabilities-service.ts";
import { casService } from "./api/grpc/cas-service.ts";
import { environmentService } from "./api/grpc/environment-service.ts";
import { flowService } from "./api/grpc/flow-service.ts";
import { grpcServer, type MountedService, mounted } from "./api/grpc/grpc-server.ts";
import { healthService } from "./api/grpc/health-service.ts";
import { type LogWriters, logService } from "./api/grpc/log-service.ts";
import { poolService } from "./api/grpc/pool-service.ts";
import { reflectionService } from "./api/grpc/reflection-service.ts";
import { runService } from "./api/grpc/run-service.ts";
import { guarded, principalOf } from "./api/guard.ts";
import { healthPages } from "./api/http/health-pages.ts";
import { type HttpServerOptions, httpServer } from "./api/http/http-server.ts";
import { installPages } from "./api/http/install-pages.ts";
import { type Metrics, metrics } from "./api/http/metrics.ts";
import { installerAddress } from "./api/install/installer-address.ts";
import { ownDist, ownExecutable, readInstaller } from "./api/install/own-files.ts";
import type { CoordinatorConfig } from "./config.ts";
import type { Principal } from "./delivery/access/principal.ts";
import { openTokens, tokenSchema } from "./delivery/access/tokens.ts";
import { storedEnvironments } from "./delivery/environment/environments.ts";
import { flows } from "./delivery/insight/flows.ts";
import { RunEngine } from "./delivery/run/run-engine.ts";
import { runSummaries, runSummarySchema } from "./delivery/run/run-summaries.ts";
import { completenessCheckingActionCache } from "./farm/action-cache/completeness-checking-action-cache.ts";
import { keepResults } from "./farm/action-cache/keep-results.ts";
import { actionCacheSchema, sqliteActionCache } from "./farm/action-cache/sqlite-action-cache.ts";
import { admittingEnrolments } from "./farm/agents/admitting-enrolments.ts";
import { isConnected, offerOf } from "./farm/agents/agent-registry.ts";
import { agentSchema, busAgentRegistry } from "./farm/agents/bus-agent-registry.ts";
import type { BusUsers } from "./farm/agents/bus-users.ts";
import { filePrograms } from "./farm/agents/file-programs.ts";
import { natsBusUsers } from "./farm/agents/nats-bus-users.ts";
import { sharedBusUser } from "./farm/agents/shared-bus-user.ts";
import { enrolmentSchema, openEnrolments } from "./farm/agents/sqlite-enrolments.ts";
import { rollingUpgrades } from "./farm/agents/upgrades.ts";
import { openFileLogStore } from "./farm/logs/file-log-store.ts";
import { poolSchema } from "./farm/pools/pool-table.ts";
import { busDispatcher } from "./farm/scheduler/dispatcher.ts";
import { executionSchema, nextTerm, placedOn, sqliteExecutionTable } from "./farm/scheduler/execution-table.ts";
import { FarmScheduler } from "./farm/scheduler/farm-scheduler.ts";
import { eventStoreSchema, sqliteEventStore } from "./store/sqlite-event-store.ts";
import { wirePools } from "./wire-pools.ts";

/** A coordinator that serves. */
export interface Coordinator {
  readonly grpcPort: number;
  readonly httpPort: number;
  /** Takes no new work, lets calls finish, closes everything. */
  stop(): Promise<void>;
}

/**
 * Builds and starts the coordinator: reading this function is reading the system. Parts come in the order of
 * dependence and stop in reverse; decorators are written around what they decorate.
 */
export async function startCoordinator(config: CoordinatorConfig, log: Logger): Promise<Coordinator> {
  const clock = systemClock;
  const fingerprint = config.tls?.authority?.fingerprint;
  const onError = (error: unknown): void => log.error({ err: error }, "failed");
  const stopping = new AbortController();
  const opened: Component[] = [];
  const own = <T extends { close(): Promise<void> }>(name: string, part: T): T => {
    opened.push({ name, stop: () => part.close() });
    return part;
  };

  try {
    // store
    const lock = lockFolder(config.data, "coordinator");
    opened.push({ name: "data folder", stop: async () => lock.release() });
    const database = own("database", await openSqlite({ path: join(config.data, "coordinator.db"), schema, onError }));
    const reserve = own("reserve", openDiskReserve({ file: join(config.data, "reserve"), clock, onError }));
    const sqlite = reservedSqlite(database, reserve);
    const store = sqliteEventStore({ sqlite });
    const bus = own("bus", await connectNatsBus({ ...config.bus, name: "coordinator", onError }));

    // farm
    const blobs = own("cas", await openDiskCas({ dir: join(config.data, "cas"), sqlite, clock }));
    const onCorrupt = (digest: unknown): void => log.error({ digest }, "a corrupt blob was set aside");
    const cas = verifyingCas(blobs, { quarantine: blobs.quarantine, onCorrupt });
    const actionCache = completenessCheckingActionCache(sqliteActionCache({ sqlite, clock }), cas);
    const logs = own("logs", await openFileLogStore({ dir: join(config.data, "logs"), clock }));
    const term = await nextTerm(sqlite);
    const agents = busAgentRegistry({ bus, sqlite, clock, term, lease: config.lease, onError });
    const letIn = await wireEnrolment(config, { sqlite, clock, own, onError });
    const { enrolments, enrolmentTokens } = letIn;
    const programs = filePrograms({ dist: config.dist ?? ownDist(), own: ownExecutable(), version });
    const upgrades = rollingUpgrades({ agents, programs, bus, version, clock, onError });
    const known = { agents, enrolments, fingerprint, sqlite, clock, onError };
    const pools = await wirePools({ config, ...known, scheduler: () => scheduler, grpcPort: () => ports.grpc });
    const scheduler: FarmScheduler = new FarmScheduler({
      ...{ bus, agents, pools, clock, term, lease: config.lease },
      dispatcher: busDispatcher(bus),
      table: sqliteExecutionTable(sqlite),
      keep: keepResults({ cas, actionCache }),
      attemptEnded: (executionId, attempt) => logs.finish({ executionId, attempt }, "gap"),
      onError,
    });

    // delivery
    const tokens = await openTokens({ sqlite, dir: join(config.data, "tokens"), fingerprint, clock });
    const environments = storedEnvironments({ store, agents, clock });
    const summaries = runSummaries({ sqlite, store, clock, onError });
    const meters = metrics({ scheduler: () => scheduler.stats(), agents });
    const runs = new RunEngine({
      store,
      summaries,
      cas,
      actionCache,
      scheduler,
      environments,
      clock,
      offers: () => [...agents.list().filter(isConnected).map(offerOf), ...pools.offers()],
      onEvent: meters.onEvent,
      onError,
    });

    // faces
    const disk = () => diskSpace(config.data);
    const ports = { grpc: config.grpcPort, http: config.httpPort };
    const installer = () => installerAddress({ ...config, port: ports.http, ...ownNames() });
    const administered = { tokens, enrolments, enrolmentTokens, clock, fingerprint, disk, installer };
    const { agentBus, lease } = config;
    const joined = { agents, enrolments, scheduler, bus: agentBus, lease, programs, offerTo: upgrades.offerTo };
    const services = guard(
      [
        mounted(Capabilities, capabilitiesService()),
        mounted(ContentAddressableStorage, casService({ cas })),
        mounted(ByteStream, byteStreamService({ cas })),
        mounted(ActionCacheService, actionCacheService({ actionCache, cas, writer: callerOf })),
        mounted(RunService, runService({ runs, gates: runs, queue: scheduler.view, cas })),
        mounted(FlowService, flowService({ flows: flows({ runs, histories: runs, clock }) })),
        mounted(LogService, logService({ logs, writers: letIn.logWriters, runs, cas })),
        mounted(EnvironmentService, environmentService(environments)),
        mounted(PoolService, poolService(pools)),
        mounted(AgentService, agentService(joined)),
        mounted(AdminService, adminService(administered)),
      ],
      { authenticate: authenticator({ tokens, enrolmentTokens }), meters, stopping: stopping.signal },
    );
    const caPem = config.tls?.authority?.caPem;
    const installing = installPages({ programs, installer: readInstaller(), grpcPort: () => ports.grpc, caPem });
    const pages = [meters.page, ...healthPages(stopping.signal), ...installing];
    const listening = listeners(config, { services, pages, onError, ports });
    // From here on the lifecycle closes what was opened, also when a part does not start.
    const farm = [...letIn.parts, agents, upgrades, scheduler];
    const parts = lifecycle([...opened.splice(0), ...farm, summaries, runs, ...listening, pools]);
    await parts.start();
    return { grpcPort: ports.grpc, httpPort: ports.http, stop: () => stop(stopping, parts) };
  } catch (error) {
    for (const part of opened.reverse()) await part.stop?.().catch(onError);
    throw error;
  }
}

function ownNames() {
  return { hostname: hostname(), interfaces: networkInterfaces() };
}

interface Faces extends Omit<HttpServerOptions, "tls"> {
  /** Those that are wished for, then those that are taken. */
  readonly ports: { grpc: number; http: number };
}

/** The two servers, which start last: whoever can connect finds everything else in place. */
function listeners({ host, tls }: CoordinatorConfig, { ports, ...faces }: Faces): Component[] {
  const grpc = grpcServer(faces.services, tls);
  const http = httpServer({ ...faces, tls });
  return [
    {
      name: "gRPC server",
      start: async () => void (ports.grpc = await grpc.listen(host, ports.grpc)),
      stop: () => grpc.close(limits.closeGraceMs),
    },
    {
      name: "HTTP server",
      start: async () => void (ports.http = await http.listen(host, ports.http)),
      stop: () => http.close(),
    },
  ];
}

/** One database, so that what happens at the same time shares a commit. */
const schema = [
  eventStoreSchema,
  diskCasSchema,
  actionCacheSchema,
  executionSchema,
  agentSchema,
  enrolmentSchema,
  poolSchema,
  tokenSchema,
  runSummarySchema,
];

interface EnrolmentParts {
  readonly sqlite: Sqlite;
  readonly clock: Clock;
  readonly own: <T extends { close(): Promise<void> }>(name: string, part: T) => T;
  readonly onError: (error: unknown) => void;
}

/** Which agents are let in, on disk and on the bus. When its parts have started, those who are enrolled may connect. */
async function wireEnrolment(config: CoordinatorConfig, { sqlite, clock, own, onError }: EnrolmentParts) {
  const enrolled = await openEnrolments({ sqlite, clock });
  const busUsers = await openBusUsers(config, { clock, own, onError });
  const enrolments = admittingEnrolments(enrolled.enrolments, busUsers, onError);
  const logWriters: LogWriters = {
    isEnrolled: (agentId) => enrolments.find(agentId) !== undefined,
    wasGiven: async (agentId, log) => (await placedOn(sqlite, log)) === agentId,
  };
  const admission: Component = { name: "enrolments", start: () => enrolments.admitAll() };
  return { enrolments, enrolmentTokens: enrolled.tokens, logWriters, parts: [busUsers, admission] };
}

/** The users of an embedded server are ours to say, those of a server of others are not. */
async function openBusUsers(
  { bus, managedNats: nats }: CoordinatorConfig,
  { clock, own, onError }: Omit<EnrolmentParts, "sqlite">,
): Promise<BusUsers & Component> {
  if (nats === undefined) return { ...sharedBusUser(), name: "users of the bus" };
  const monitor = await connectNatsBus({ ...bus, ...nats.monitor, name: "coordinator, users", onError });
  return natsBusUsers({ nats, monitor: own("bus monitor", monitor), clock, onError });
}

function callerOf(context: HandlerContext): string {
  return principalOf(context).name;
}

interface GuardParts {
  readonly authenticate: (secret: string) => Principal;
  readonly meters: Metrics;
  readonly stopping: AbortSignal;
}

/** Adds reflection and health, which know all services, and puts the guard before every one. */
function guard(services: readonly MountedService[], { authenticate, meters, stopping }: GuardParts): MountedService[] {
  const known: DescService[] = [...services.map(({ service }) => service), Health, ServerReflection];
  const health = healthService({ services: new Set(known.map(({ typeName }) => typeName)), stopping });
  const all = [...services, mounted(Health, health), mounted(ServerReflection, reflectionService(known))];
  const options = { authenticate, rolesOf, observer: meters.calls };
  return all.map(({ service, impl }) => mounted(service, guarded(service, impl, options)));
}

async function stop(stopping: AbortController, parts: Lifecycle): Promise<void> {
  stopping.abort();
  await parts.stop();
}
