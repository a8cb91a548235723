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
import { SecretService } from "../proto/gen/millrace/v1/secret_pb.ts";
import { ShellService } from "../proto/gen/millrace/v1/shell_pb.ts";
import { boundedCas } from "../shared/cas/bounded-cas.ts";
import { openDiskCas } from "../shared/cas/disk-cas.ts";
import { verifyingCas } from "../shared/cas/verifying-cas.ts";
import { type Clock, systemClock } from "../shared/clock.ts";
import { diskSpace } from "../shared/disk-space.ts";
import { type Component, type Lifecycle, lifecycle } from "../shared/lifecycle.ts";
import { limits } from "../shared/limits.ts";
import { openDiskReserve, reservedSqlite } from "../shared/sqlite/disk-reserve.ts";
import { lockFolder } from "../shared/sqlite/folder-lock.ts";
import { openSqlite } from "../shared/sqlite/open.ts";
import type { Sqlite } from "../shared/sqlite/sqlite.ts";
import { turns } from "../shared/turns.ts";
import { version } from "../shared/version.ts";
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
import { secretService } from "./api/grpc/secret-service.ts";
import { shellService } from "./api/grpc/shell-service.ts";
import { type GuardOptions, guarded, principalOf } from "./api/guard.ts";
import { healthPages } from "./api/http/health-pages.ts";
import { type HttpServerOptions, httpServer } from "./api/http/http-server.ts";
import { installPages } from "./api/http/install-pages.ts";
import { type Metrics, metrics } from "./api/http/metrics.ts";
import { schemaPage } from "./api/http/schema-page.ts";
import { installerAddress } from "./api/install/installer-address.ts";
import { ownDist, ownExecutable, readInstaller } from "./api/install/own-files.ts";
import type { CoordinatorConfig, KeepingConfig } from "./config.ts";
import { storedEnvironments } from "./delivery/environment/environments.ts";
import { flows } from "./delivery/insight/flows.ts";
import type { ProjectView } from "./delivery/project/projects.ts";
import { retentionOf } from "./delivery/project/retention.ts";
import { RunEngine } from "./delivery/run/run-engine.ts";
import { runSummaries } from "./delivery/run/run-summaries.ts";
import { agentSealer } from "./delivery/secret/agent-sealer.ts";
import { openStoredSecrets } from "./delivery/secret/stored-secrets.ts";
import { completenessCheckingActionCache } from "./farm/action-cache/completeness-checking-action-cache.ts";
import { keepResults } from "./farm/action-cache/keep-results.ts";
import { sqliteActionCache } from "./farm/action-cache/sqlite-action-cache.ts";
import { admittingEnrolments } from "./farm/agents/admitting-enrolments.ts";
import type { AgentRegistry } from "./farm/agents/agent-registry.ts";
import { busAgentRegistry } from "./farm/agents/bus-agent-registry.ts";
import type { BusUsers } from "./farm/agents/bus-users.ts";
import { enrolmentExpiry } from "./farm/agents/enrolment-expiry.ts";
import { filePrograms } from "./farm/agents/file-programs.ts";
import { natsBusUsers } from "./farm/agents/nats-bus-users.ts";
import { sharedBusUser } from "./farm/agents/shared-bus-user.ts";
import { openEnrolments } from "./farm/agents/sqlite-enrolments.ts";
import { rollingUpgrades } from "./farm/agents/upgrades.ts";
import { openFileLogStore } from "./farm/logs/file-log-store.ts";
import { busDispatcher } from "./farm/scheduler/dispatcher.ts";
import { nextTerm, placedOn, sqliteExecutionTable } from "./farm/scheduler/execution-table.ts";
import { FarmScheduler } from "./farm/scheduler/farm-scheduler.ts";
import { firstConnection } from "./first-connection.ts";
import { requireNoUnfinishedRestore } from "./keeping/backup/unfinished.ts";
import type { Collector } from "./keeping/garbage/collector.ts";
import { type KeepingSettings, keeping } from "./keeping/keeping.ts";
import { coordinatorSchema } from "./schema.ts";
import { sqliteEventStore } from "./store/sqlite-event-store.ts";
import { wireAccess } from "./wire-access.ts";
import { wireEvaluations } from "./wire-evaluations.ts";
import { wirePools } from "./wire-pools.ts";
import { endLogsIn, wireSources } from "./wire-sources.ts";

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
  const own = ownedBy(opened);

  try {
    // store
    const sqlite = await openDatabase(config.data, own, onError);
    const store = sqliteEventStore({ sqlite });
    const secrets = await openStoredSecrets({ sqlite, store, ...secretSettings(config), clock });
    const bus = own("bus", await firstConnection({ ...config.bus, name: "coordinator", clock, onError }));

    // farm
    const { disk, cas } = await openCas({ config, sqlite, own, log, collector: () => keeper.collector });
    const results = sqliteActionCache({ sqlite, clock });
    const actionCache = completenessCheckingActionCache(results, cas);
    const logs = own("logs", await openFileLogStore({ dir: join(config.data, "logs"), clock }));
    const [term, lostKeptMs] = [await nextTerm(sqlite), config.keeping.keepLostAgentsFor];
    const agents = busAgentRegistry({ bus, sqlite, clock, term, lease: config.lease, lostKeptMs, onError });
    const enrolling = { sqlite, clock, own, agents, onError };
    const { enrolments, enrolmentTokens, ...letIn } = await wireEnrolment(config, enrolling);
    const programs = filePrograms({ dist: config.dist ?? ownDist(), own: ownExecutable(), version });
    const upgrades = rollingUpgrades({ agents, programs, bus, version, clock, onError });
    const known = { agents, enrolments, fingerprint, sqlite, clock, onError };
    const pools = await wirePools({ config, ...known, scheduler: () => scheduler, grpcPort: () => ports.grpc });
    const scheduler: FarmScheduler = new FarmScheduler({
      ...{ bus, agents, pools, clock, term, lease: config.lease },
      dispatcher: busDispatcher(bus, agentSealer({ values: secrets, agents })),
      table: sqliteExecutionTable(sqlite),
      keep: keepResults({ cas, actionCache }),
      attemptEnded: endLogsIn(logs),
      onError,
    });

    // delivery
    const environments = storedEnvironments({ store, agents, clock });
    const shared = { data: config.data, sqlite, store, fingerprint, clock, environments, enrolmentTokens, onError };
    const { tokens, projects, candidates, ...access } = await wireAccess({ ...shared, secrets, runs: () => runs });
    const summaries = runSummaries({ sqlite, store, clock, onError });
    const meters = metrics({ scheduler: () => scheduler.stats(), agents, runs: () => runs.active() });
    const pinning = turns();
    const planned = { scheduler, cas, actionCache, logs, agents, pools, projects };
    const { planning, ofSources } = wireEvaluations({ ...planned, onError });
    const runs: RunEngine = new RunEngine({
      ...{ store, summaries, cas, actionCache, scheduler, environments, projects, candidates, secrets, clock, pinning },
      ...{ ...planning, onEvent: meters.onEvent, onError },
    });

    const { imports, gits } = wireSources({ runs, summaries, projects, scheduler, agents, cas, onError });
    const freeSpace = () => diskSpace(config.data);
    const keeper = keeping({
      ...{ ...config, settings: keepingSettings(config.keeping, projects), disk: freeSpace },
      ...{ store, summaries, candidates, runs, logs, cas: disk, actionCache: results, pinning, clock, onError },
    });

    // faces
    const ports = { grpc: config.grpcPort, http: config.httpPort };
    const installer = () => installerAddress({ ...config, port: ports.http, ...ownNames() });
    const letting = { tokens, projects, enrolments, enrolmentTokens, fingerprint, installer };
    const administered = { ...letting, clock, disk: freeSpace, keeping: keeper };
    const { agentBus, lease } = config;
    const joined = { agents, enrolments, scheduler, bus: agentBus, lease, programs, offerTo: upgrades.offerTo };
    const runFace = { gits, queue: scheduler.view, cas, evaluations: ofSources };
    const services = guard(
      [
        mounted(Capabilities, capabilitiesService()),
        mounted(ContentAddressableStorage, casService({ cas })),
        mounted(ByteStream, byteStreamService({ cas })),
        mounted(ActionCacheService, actionCacheService({ actionCache, cas, writer: callerOf })),
        mounted(RunService, runService({ ...runFace, runs, steering: runs, gates: runs, pins: runs })),
        mounted(FlowService, flowService({ flows: flows({ runs, histories: runs, clock }) })),
        mounted(LogService, logService({ logs, writers: letIn.logWriters, runs, cas })),
        mounted(ShellService, shellService({ runs, bus, agents, clock, idleMs: config.shellIdle })),
        mounted(EnvironmentService, environmentService(environments)),
        mounted(PoolService, poolService(pools)),
        mounted(SecretService, secretService({ secrets, projects })),
        mounted(AgentService, agentService(joined)),
        ...access.services,
        mounted(AdminService, adminService(administered)),
      ],
      { ...access.guards, meters, stopping: stopping.signal },
    );
    const caPem = config.tls?.authority?.caPem;
    const installing = installPages({ programs, installer: readInstaller(), grpcPort: () => ports.grpc, caPem });
    const pages = [meters.page, ...healthPages(stopping.signal), ...installing, schemaPage()];
    const listening = listeners(config, { services, pages, onError, ports });
    // From here on the lifecycle closes what was opened, also when a part does not start.
    const farm = [...letIn.parts, agents, upgrades, scheduler, imports, planning.evaluations];
    const delivery = [summaries, ...access.components, runs, keeper.collector];
    const parts = lifecycle([...opened.splice(0), ...farm, ...delivery, ...listening, pools]);
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

/** What a project does not say of its own is the same for all. */
function keepingSettings(config: KeepingConfig, projects: Pick<ProjectView, "find">): KeepingSettings {
  const common = {
    runsMax: config.keepRuns,
    runAgeMs: config.keepRunsFor,
    logAgeMs: config.keepLogsFor,
    artifactAgeMs: config.keepArtifactsFor,
  };
  const policyOf = (project: string) => retentionOf(projects.find(project)?.retention, common);
  return { casBytesMax: config.casMaxBytes, cacheAgeMs: config.keepCacheFor, policyOf };
}

function secretSettings({ secretKeyFile, forgetSecrets }: CoordinatorConfig) {
  return { keyFile: secretKeyFile, forget: forgetSecrets };
}

type Own = ReturnType<typeof ownedBy>;

/** Has parts closed that need no start. */
function ownedBy(opened: Component[]) {
  return <T extends { close(): Promise<void> }>(name: string, part: T): T => {
    opened.push({ name, stop: () => part.close() });
    return part;
  };
}

interface CasParts {
  readonly config: Pick<CoordinatorConfig, "data" | "keeping">;
  readonly sqlite: Sqlite;
  readonly own: Own;
  readonly log: Logger;
  /** Asked once it is there: room is made by who keeps everything. */
  readonly collector: () => Collector;
}

/** Refused for want of room is what was checked; checked is what the disk gave. */
async function openCas({ config, sqlite, own, log, collector }: CasParts) {
  const { casIdle: promiseMs, casMaxBytes: bytesMax } = config.keeping;
  const disk = own("cas", await openDiskCas({ dir: join(config.data, "cas"), sqlite, promiseMs }));
  const onCorrupt = (digest: unknown): void => log.error({ digest }, "a corrupt blob was set aside");
  const cas = boundedCas(verifyingCas(disk, { quarantine: disk.quarantine, onCorrupt }), {
    ...{ bytesMax, bytes: () => disk.usage().diskBytes },
    makeRoom: (bytes) => collector().makeRoom(bytes),
    onWritten: () => collector().check(),
  });
  return { disk, cas };
}

/** What is left of the disk when it is full is the database's: what ends can then still be written down. */
async function openDatabase(data: string, own: Own, onError: (error: unknown) => void): Promise<Sqlite> {
  const lock = lockFolder(data, "coordinator");
  own("data folder", { close: async () => lock.release() });
  requireNoUnfinishedRestore(data);
  const path = join(data, "coordinator.db");
  const database = own("database", await openSqlite({ path, schema: coordinatorSchema, onError }));
  const reserve = own("reserve", openDiskReserve({ file: join(data, "reserve"), clock: systemClock, onError }));
  return reservedSqlite(database, reserve);
}

interface EnrolmentParts {
  readonly sqlite: Sqlite;
  readonly clock: Clock;
  readonly own: Own;
  readonly agents: AgentRegistry;
  readonly onError: (error: unknown) => void;
}

/** Which agents are let in, on disk and on the bus. When its parts have started, those who are enrolled may connect. */
async function wireEnrolment(config: CoordinatorConfig, { sqlite, clock, own, agents, onError }: EnrolmentParts) {
  const enrolled = await openEnrolments({ sqlite, clock });
  const busUsers = await openBusUsers(config, { clock, own, onError });
  const enrolments = admittingEnrolments(enrolled.enrolments, busUsers, onError);
  const logWriters: LogWriters = {
    isEnrolled: (agentId) => enrolments.find(agentId) !== undefined,
    wasGiven: async (agentId, log) => (await placedOn(sqlite, log)) === agentId,
  };
  const admission: Component = { name: "enrolments", start: () => enrolments.admitAll() };
  const keptMs = config.keeping.keepLostAgentsFor;
  const expiry = enrolmentExpiry({ enrolments, agents, keptMs, clock, onError });
  return { enrolments, enrolmentTokens: enrolled.tokens, logWriters, parts: [busUsers, admission, expiry] };
}

/** The users of an embedded server are ours to say, those of a server of others are not. */
async function openBusUsers(
  { bus, managedNats: nats }: CoordinatorConfig,
  { clock, own, onError }: Omit<EnrolmentParts, "sqlite" | "agents">,
): Promise<BusUsers & Component> {
  if (nats === undefined) return { ...sharedBusUser(), name: "users of the bus" };
  const monitor = await firstConnection({ ...bus, ...nats.monitor, name: "coordinator, users", clock, onError });
  return natsBusUsers({ nats, monitor: own("bus monitor", monitor), clock, onError });
}

function callerOf(context: HandlerContext): string {
  return principalOf(context).name;
}

interface GuardParts extends Omit<GuardOptions, "observer"> {
  readonly meters: Metrics;
  readonly stopping: AbortSignal;
}

/** Adds reflection and health, which know all services, and puts the guard before every one. */
function guard(services: readonly MountedService[], { meters, stopping, ...who }: GuardParts): MountedService[] {
  const known: DescService[] = [...services.map(({ service }) => service), Health, ServerReflection];
  const health = healthService({ services: new Set(known.map(({ typeName }) => typeName)), stopping });
  const all = [...services, mounted(Health, health), mounted(ServerReflection, reflectionService(known))];
  const options = { ...who, observer: meters.calls };
  return all.map(({ service, impl }) => mounted(service, guarded(service, impl, options)));
}

async function stop(stopping: AbortController, parts: Lifecycle): Promise<void> {
  stopping.abort();
  await parts.stop();
}
