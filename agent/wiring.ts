import { hash, randomUUID } from "node:crypto";
import { mkdirSync, realpathSync } from "node:fs";
import { arch, hostname, platform } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { createClient, type Transport } from "@connectrpc/connect";
import { AdminService } from "../proto/gen/millrace/v1/admin_pb.ts";
import {
  type AgentInfo,
  AgentInfoSchema,
  AgentService,
  type FailedUpgrade,
  FailedUpgradeSchema,
  ToolSchema,
} from "../proto/gen/millrace/v1/agent_pb.ts";
import { LogService } from "../proto/gen/millrace/v1/log_pb.ts";
import { connectNatsBus } from "../shared/bus/nats-bus.ts";
import { grpcCas } from "../shared/cas/grpc-cas.ts";
import type { Clock } from "../shared/clock.ts";
import type { DigestKey } from "../shared/digest.ts";
import { diskSpace } from "../shared/disk-space.ts";
import type { MillraceError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { removeTree } from "../shared/remove-tree.ts";
import { explainedTransport } from "../shared/rpc/explained-transport.ts";
import { grpcTransport } from "../shared/rpc/grpc-transport.ts";
import { parseToken } from "../shared/rpc/token.ts";
import { lockFolder } from "../shared/sqlite/folder-lock.ts";
import { keptFingerprint, obtainTrust } from "../shared/tls/obtain-trust.ts";
import { tlsMismatch } from "../shared/tls/tls-mismatch.ts";
import { upgradeFeature, version } from "../shared/version.ts";
import { type Agent, agent } from "./agent.ts";
import { openCacheShelf } from "./caches/cache-shelf.ts";
import { folderCaches } from "./caches/folder-caches.ts";
import type { AgentConfig } from "./config.ts";
import { confine } from "./confine.ts";
import { openAgentDatabase } from "./database.ts";
import { type KeyFile, keyFileOf, openKeyFile } from "./enrolment/agent-keys.ts";
import { enrollingCoordinator, enrolment } from "./enrolment/enrolment.ts";
import { choosingExecutor } from "./executor/choosing-executor.ts";
import { collectingExecutor } from "./executor/collecting-executor.ts";
import { concludingExecutor } from "./executor/concluding-executor.ts";
import { diskWatchingExecutor } from "./executor/disk-watching-executor.ts";
import { layingOutExecutor } from "./executor/laying-out-executor.ts";
import { loggingExecutor } from "./executor/logging-executor.ts";
import { processExecutor } from "./executor/process-executor.ts";
import { readingExecutor } from "./executor/reading-executor.ts";
import { reportingExecutor } from "./executor/reporting-executor.ts";
import { toolCheckingExecutor } from "./executor/tool-checking-executor.ts";
import { inputRoots } from "./input-root/input-root.ts";
import { inputTrees } from "./input-root/input-trees.ts";
import { probeInputRootMode } from "./input-root/mode.ts";
import { boundedLogs } from "./logs/bounded-logs.ts";
import { setAsideLeftovers } from "./logs/leftovers.ts";
import { logStreamer } from "./logs/log-streamer.ts";
import type { DeployStep } from "./operations/deploy-state.ts";
import { operationJournaling } from "./operations/operating-executor.ts";
import { openOutbox } from "./outbox/outbox.ts";
import { type Patiently, patience } from "./retry.ts";
import { openRunner } from "./runner/runner.ts";
import { openTaskSecrets, type TaskSecrets } from "./secrets/task-secrets.ts";
import { attempts } from "./session/attempts.ts";
import { busLoginOf, busServersOf, busTrustOf, type ReachedCoordinator } from "./session/bus-servers.ts";
import { agentIdentity } from "./session/identity.ts";
import { type BusAddress, session } from "./session/session.ts";
import { openBlobFiles, type StoredFile } from "./store/blob-files.ts";
import { evictor, storeBounds } from "./store/evictor.ts";
import { localStore } from "./store/local-store.ts";
import { openUsageIndex } from "./store/usage-index.ts";
import { ownNode } from "./tools/own-node.ts";
import type { FoundTool } from "./tools/probe-tool.ts";
import { openTools } from "./tools/tools.ts";
import { upgradeFarm } from "./upgrade/upgrade-farm.ts";
import type { FailedProgram } from "./upgrade/upgrade-state.ts";
import type { Upgrader } from "./upgrade/upgrader.ts";
import { type MachineParts, wireOperations } from "./wire-operations.ts";
import { wireKeptTrees, wireShells } from "./wire-shells.ts";
import { sourceFeatures, wireSource } from "./wire-source.ts";

export interface AgentDependencies {
  readonly clock: Clock;
  /** Told of everything that went wrong and was coped with. */
  readonly onError: (error: MillraceError) => void;
  /** The coordinator does not want this agent any more. */
  readonly onExpelled: (error: MillraceError) => void;
  /** Told when the one task of an ephemeral agent has ended and its report is on disk: it is time to stop. */
  readonly onSpent?: () => void;
  /** Told of each step of a host operation once it is journaled and before it is taken. */
  readonly onStep: (executionId: string, step: DeployStep) => void;
  /** Asked when the agent closes: whether the units end with it. Else they go on, and its next start takes them up. */
  readonly unitsEnd: () => boolean;
  /** Exchanges the program of this agent; undefined where that is not possible, or somebody else's business. */
  readonly upgrades?: { readonly failed: FailedUpgrade | undefined; readonly offered: Upgrader["offered"] } | undefined;
}

/**
 * Builds the agent and opens everything on its own machine; `start` then joins the farm. Reading this is reading the agent.
 * @throws MillraceError failed_precondition when the data folder is in use
 */
export async function wireAgent(
  config: AgentConfig,
  { clock, onError, onExpelled, onSpent, onStep, unitsEnd, upgrades }: AgentDependencies,
): Promise<Agent> {
  /** Closes what was opened, the last first: also when opening the next thing fails. */
  await using opened = new AsyncDisposableStack();
  const lock = lockFolder(config.data, "agent");
  opened.defer(() => lock.release());
  const id = agentIdentity(config.data, config.name);
  const data = realpathSync(config.data);
  const folder = (name: string) => join(data, name);

  const database = await openAgentDatabase({ path: folder("agent.sqlite"), onError });
  opened.defer(() => database.close());
  const patiently = patience(clock, onError);
  const reached = await reach(config, { folder, patiently });
  const { transport, keys } = reached;
  opened.defer(() => transport.close());
  const farm = grpcCas({ transport });

  const { mode, runner } = await wireRunner({ data, folder, clock, onError, opened });
  const secrets = await openTaskSecrets({ agentId: id, name: runnerName(data), folder });
  opened.defer(() => secrets.close());
  const { logs, bounded, leftovers } = await wireLogs({ config, transport, folder, secrets, clock, onError, opened });

  const confined = await confine(config, runner, data);
  const tools = await openTools({
    ...{ named: config.tools, onlyNamed: config.onlyNamedTools === true, path: confined.path, clock, onError },
    own: ownNode(),
    onChange: () => {
      info.tools = tools.list().map(toolMessage);
      info.features = features();
      membership.renew();
    },
  });
  opened.defer(async () => tools.close());

  const parts = { config, folder, database, farm, patiently, clock, onError, opened };
  const { shelf, store, trees, caches } = await wireStore(parts);
  const roots = inputRoots({ mode, store, trees, runner, folder: folder("work"), onError });
  opened.defer(() => roots.close());

  // The executor stack, innermost first: what is done to an assignment reads from the bottom up.
  const ending = new AbortController();
  const own = { owner: `${id} on ${hostname()}`, folder: data };
  const run = diskWatchingExecutor(processExecutor({ runner, clock, ...confined }), { own, clock });
  const collect = collectingExecutor(run, farm, { store, patiently });
  const checked = toolCheckingExecutor(collect, tools);
  const kept = wireKeptTrees({ data, clock, opened });
  const layOut = layingOutExecutor(checked, { roots, caches, keepTree: kept.keep });
  const read = readingExecutor(layOut, store);
  const conclude = concludingExecutor(read, own);
  const spooled = { logs: bounded, farm, folder: folder("spool"), patiently, ending: ending.signal };
  const log = secrets.ofTasks(loggingExecutor(conclude, spooled));
  const walls = { ...confined, runner, roots, caches, store, kept };
  const shells = await wireShells({ ...walls, transport, agentId: id, folder, clock, opened, onError });

  // Beside it, what outlives its task: the same two ends, and between them no input root and no runner.
  const hosting = { logs, shelf, store, onStep, unitsEnd, ending: ending.signal };
  const { journal, operation } = await wireOperations({ ...parts, ...hosting });
  const imports = await wireSource({ ...parts, path: confined.path, allowedPaths: config.sourcePath, own });
  const choices = { actions: log, operations: operation, imports: secrets.ofImports(imports) };
  const executor = reportingExecutor(choosingExecutor(choices), { agentId: id, own });

  const found = [`input-root:${mode.kind}`, runner.feature, `sandbox:${confined.sandbox}`];
  if (upgrades !== undefined) found.push(upgradeFeature);
  const features = () => [...found, ...sourceFeatures(tools.list())];
  const described = { features: features(), tools: tools.list(), upgrades, sealingKey: secrets.publicKey };
  const info = describeAgent(id, config, described);
  // These three know each other: what runs ends in the outbox, which sends by way of the session, which names both.
  const onChange = () => membership.announce();
  const send = (...call: Parameters<typeof membership.report>) => membership.report(...call);
  const outbox = await openOutbox({ database, send, clock, onChange, onError });
  opened.defer(() => outbox.close());
  const journaling = operationJournaling({ journal, spools: folder("operations"), onError });
  const bounds = { slots: config.slots, ephemeral: config.ephemeral, onSpent };
  const taken = attempts({ ...bounds, executor, outbox, ...journaling, clock, onChange, onError });
  const { letIn, coordinator } = wireEnrolment(config, { id, reached, patiently, onError, ending: ending.signal });
  const membership = session({
    info,
    coordinator,
    connectBus: (answer) => connectBus(answer, { id, keys, reached, onError, onRefused: () => membership.renew() }),
    attempts: taken,
    shells,
    onOffer: (program) => upgrades?.offered({ ...program, sizeBytes: Number(program.sizeBytes) }, upgradesOf),
    disk: () => diskSpace(data),
    clock,
    onReachable: outbox.kick,
    onError,
    onExpelled,
  });
  opened.defer(() => membership.stop());
  const upgradesOf = upgradeFarm(transport, (failed) => {
    info.failedUpgrade = failedUpgrade({ ...failed, timeMs: clock.nowMs() });
    membership.renew();
  });
  if (config.trial) taken.drain();
  // Before the first heartbeat, which says that they are held.
  for (const message of await journal.unreported()) taken.resume(message);

  const everything = opened.move();
  return agent({
    ...{ id, attempts: taken, outbox, clock, ending },
    async join() {
      await letIn.confirm(ending.signal);
      await leftovers.send(); // before the first heartbeat, by which the coordinator ends these logs itself
      await membership.start();
    },
    close: () => everything.disposeAsync(),
  });
}

interface ReachParts {
  readonly folder: (name: string) => string;
  readonly patiently: Patiently;
}

/**
 * Who the coordinator is and how to speak to it. A CA that is not kept yet is waited for, as long as it takes; without a
 * token it is the farm whose CA is kept.
 */
async function reach(config: AgentConfig, { folder, patiently }: ReachParts) {
  const { coordinator: address, token: text, tlsCa } = config;
  const keys = openKeyFile(config.credentials ?? folder(keyFileOf(address)), address);
  const keptFile = `${keys.path}.ca.pem`; // beside them, for it is of the same farm
  const token = text === undefined ? undefined : parseToken(text);
  const fingerprint = token === undefined ? keptFingerprint(keptFile) : token.fingerprint;
  const { signal } = new AbortController();
  const ask = () => obtainTrust({ address, fingerprint, tlsCa, keptFile, signal });
  const trust = await patiently(signal, `asking ${address} for the farm's CA`, ask);
  const plain = grpcTransport({ address, trust, token: () => keys.current()?.secret });
  const transport = explainedTransport(plain, () => tlsMismatch(address, trust));
  return { address, trust, transport, keys, token: token?.secret };
}

interface EnrolmentParts {
  readonly id: string;
  readonly reached: Awaited<ReturnType<typeof reach>>;
  readonly patiently: Patiently;
  readonly onError: (error: MillraceError) => void;
  readonly ending: AbortSignal;
}

/** How the agent is let in, and the coordinator as one that it may have to be let in by again. */
function wireEnrolment(config: AgentConfig, { id, reached, patiently, onError, ending }: EnrolmentParts) {
  const { transport, keys, token } = reached;
  const agents = createClient(AgentService, transport);
  const admin = createClient(AdminService, transport);
  const { pool } = config.labels;
  const own = { id, hostname: hostname(), pool, keys, token, coordinator: config.coordinator };
  const letIn = enrolment({ ...own, agents, admin, patiently, onError });
  return { letIn, coordinator: enrollingCoordinator(agents, letIn, ending) };
}

interface BusParts {
  readonly id: string;
  readonly keys: KeyFile;
  readonly reached: ReachedCoordinator;
  readonly onError: (error: MillraceError) => void;
  /** The server does not let us in any more: whoever let us in may know better. */
  readonly onRefused: () => void;
}

/** The bus that the coordinator names, as this agent. */
function connectBus(answer: BusAddress, { id, keys, reached, onError, onRefused }: BusParts) {
  return connectNatsBus({
    servers: busServersOf(answer, reached.address),
    trust: busTrustOf(answer, reached),
    ...busLoginOf(answer, { id, keys }),
    name: `agent ${id}`,
    onError(error) {
      onError(error);
      if (error.code === "unauthenticated") onRefused();
    },
  });
}

/** As the farm is told of it. */
export function failedUpgrade({ timeMs, ...failed }: FailedProgram & { readonly timeMs: number }): FailedUpgrade {
  return create(FailedUpgradeSchema, { ...failed, time: timestampFromMs(timeMs) });
}

function toolMessage({ name, version, fingerprint, path }: FoundTool) {
  return create(ToolSchema, { name, version, fingerprint, path });
}

interface RunnerParts extends Pick<StoreParts, "folder" | "clock" | "onError" | "opened"> {
  /** The agent's folder, absolute and real. */
  readonly data: string;
}

/** Of the folder and not of the id: two farms on one machine may both have an "agent-1". */
function runnerName(data: string): string {
  return `millrace-${hash("sha256", data).slice(0, 16)}`;
}

/** What runs processes, and how it lays out their inputs; the folder of the input roots is empty then. */
async function wireRunner({ data, folder, clock, onError, opened }: RunnerParts) {
  mkdirSync(folder("work"), { recursive: true });
  const mode = await probeInputRootMode(folder("work"));
  const runner = await openRunner({
    name: runnerName(data),
    stateFile: folder("containment"),
    startsFile: folder("process-starts.log"),
    namespace: mode.kind === "overlay" ? mode.namespace : [],
    clock,
    onRestart: onError,
  });
  opened.defer(() => runner.close());
  // Only now is nothing left of an earlier start that could still write there.
  await removeTree(folder("work"));
  return { mode, runner };
}

interface LogParts extends Pick<StoreParts, "config" | "folder" | "clock" | "onError" | "opened"> {
  readonly transport: Transport;
  readonly secrets: TaskSecrets;
}

/** The logs of this start (`bounded`: for tasks), and what an earlier one left of its own. */
async function wireLogs({ config, transport, folder, secrets, clock, onError, opened }: LogParts) {
  const client = createClient(LogService, transport);
  const open = () => {
    const logs = logStreamer({ client, clock, onError });
    opened.defer(() => logs.close());
    return logs;
  };
  const aside = { spoolFolder: folder("spool"), folder: folder("leftovers"), logs: open() };
  const leftovers = await setAsideLeftovers({ ...aside, secrets: secrets.unsent, clock, onError });
  const logs = open();
  const bounds = { spoolBytes: config.spoolBytes, cutOffMs: limits.logCutOffMs, awayMs: limits.farmAwayMs };
  const bounded = boundedLogs(logs, { clock, bounds, onError });
  opened.defer(async () => bounded.close());
  return { leftovers, logs, bounded };
}

interface StoreParts extends MachineParts {
  readonly config: AgentConfig;
}

/** The local store with the trees laid out from it, and what keeps both within bounds. */
async function wireStore({ config, folder, database, farm, patiently, clock, onError, opened }: StoreParts) {
  const files = openBlobFiles(folder("store"));
  const usage = await openUsageIndex({ database, files, clock, onError });
  const pinned = new Map<DigestKey, number>();
  const onUse = (used: readonly StoredFile[]) => {
    usage.used(used);
    eviction.check();
  };
  const shelf = { files, patiently, onUse, pinned, onError };
  const store = localStore({ ...shelf, farm });
  const trees = inputTrees(store, folder("trees"), onError);
  opened.defer(() => trees.close());
  const cacheShelf = await openCacheShelf({ database, folder: folder("caches"), clock, onError });
  opened.defer(() => cacheShelf.close());
  const caches = folderCaches({ shelf: cacheShelf, onKept: () => eviction.check(), onError });
  const bounds = storeBounds(config.data, config.storeBytes);
  const freeBytes = () => diskSpace(config.data).freeBytes;
  const eviction = evictor({
    files,
    usage,
    pinned,
    caches: cacheShelf,
    bounds,
    freeBytes,
    onDiskLow: trees.removeIdle,
    onError,
  });
  opened.defer(() => eviction.close());
  eviction.check();
  return { shelf, store, trees, caches };
}

interface Offered extends Pick<AgentDependencies, "upgrades"> {
  readonly features: readonly string[];
  readonly tools: readonly FoundTool[];
  readonly sealingKey: Uint8Array;
}

function describeAgent(id: string, config: AgentConfig, { features, tools, upgrades, sealingKey }: Offered): AgentInfo {
  return create(AgentInfoSchema, {
    id,
    session: randomUUID(),
    hostname: hostname(),
    version,
    slots: config.slots,
    labels: { os: platform(), arch: arch(), ...config.labels },
    features: [...features],
    tools: tools.map(toolMessage),
    ...(upgrades?.failed === undefined ? {} : { failedUpgrade: upgrades.failed }),
    ephemeral: config.ephemeral,
    sealingKey,
  });
}
