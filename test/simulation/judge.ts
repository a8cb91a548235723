import type { ExecutionTable, Lease } from "../../coordinator/farm/scheduler/execution-table.ts";
import type { FarmScheduler } from "../../coordinator/farm/scheduler/farm-scheduler.ts";
import type { ExecutionOutcome, ExecutionRequest } from "../../coordinator/farm/scheduler/scheduler.ts";
import type { Epoch as EpochMessage, Report } from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind } from "../../proto/gen/millrace/v1/event_pb.ts";
import { digestKey } from "../../shared/digest.ts";
import { from } from "../../shared/errors.ts";
import type { World } from "./world.ts";

/** Sees what must hold at every moment of a world: who goes first, who holds how much, and which results count. */
export interface Judge {
  /** The table of one start, with every lease and every end looked at. `scheduler` is that start's. */
  watch(table: ExecutionTable, scheduler: () => FarmScheduler): ExecutionTable;
  /** A request that may be submitted from now on; `isTakenBack`: if it is cancelled, then only while no agent has it. */
  expect(request: ExecutionRequest, isTakenBack: boolean): void;
  agent(id: string, slots: number): void;
  kept(report: Report): void;
  attemptEnded(executionId: string, attempt: number): void;
  /** An agent begins something that it was given. */
  begun(epoch: Pick<EpochMessage, "term" | "number">, agentId: string): void;
  /** Its agent says that it would fail there again: it may be passed by from now on. */
  unfit(executionId: string): void;
  error(error: unknown): void;
  /** Its submitter was told that it has finished. */
  told(id: string, outcome: ExecutionOutcome): void;
}

/** What a part may meet in bad weather; anything else is a defect. */
const weatherCodes = new Set(["resource_exhausted", "unavailable", "deadline_exceeded", "canceled"]);

/** @param arrivals the ids of all rows on disk, in the order in which they came there */
export function judge(world: Pick<World, "fail">, arrivals: () => readonly string[]): Judge {
  const requests = new Map<string, ExecutionRequest>();
  /** How many ask for the same Action. */
  const sharers = new Map<string, number>();
  const slotsOf = new Map<string, number>();
  const keptEpochs = new Set<string>();
  const endedLogs = new Set<string>();
  /** What each request's row says of its end. */
  const ends = new Map<string, string>();
  const told = new Map<string, string>();
  const unfit = new Set<string>();
  /** They are cancelled only when no agent has them. */
  const takenBack = new Set<string>();
  /** Leases that are on disk, by execution and epoch, and the last of each request. */
  const leases = new Set<string>();
  const lastLease = new Map<string, string>();

  function leased(ids: readonly string[], { agentId, epoch }: Lease): void {
    const lease = `${epoch.term}.${epoch.number} of ${agentId}`;
    leases.add(lease);
    for (const id of ids) lastLease.set(id, lease);
  }

  function fail(what: string): void {
    world.fail(what);
  }

  /** At the moment of a placement, before anything else happens. */
  function checkPlacement(ids: readonly string[], { agentId }: Lease, scheduler: FarmScheduler): void {
    const [id = ""] = ids;
    const request = requests.get(id);
    if (request === undefined) return fail(`${ids.join()} is placed and was never submitted`);
    if (request.avoidAgents?.includes(agentId)) fail(`${id} is given to ${agentId}, which must not have it`);
    const { heldBy } = scheduler.stats();
    const held = heldBy.get(agentId)?.length ?? 0;
    const slots = slotsOf.get(agentId) ?? 0;
    if (held > slots) fail(`${agentId} is given ${held} executions and has ${slots} slots`);
    // Those that may share an execution have the place and the priority of another one.
    if (mayShare(request)) return;
    const running = new Map<string, number>();
    for (const holding of [...heldBy.values()].flat()) {
      const group = requests.get(holding)?.fairGroup ?? "";
      running.set(group, (running.get(group) ?? 0) + 1);
    }
    const order = new Map(arrivals().map((arrived, index) => [arrived, index]));
    const others = [...requests.values()].filter((other) => !ends.has(other.id) && !mayShare(other));
    for (const rivalId of scheduler.view.placesOf(others.map((other) => other.id)).keys()) {
      const rival = requests.get(rivalId);
      if (rival === undefined || lineOf(rival) !== lineOf(request)) continue;
      if (rival.priority < request.priority || unfit.has(rivalId)) continue;
      const before = `${id} (${request.priority}, ${request.fairGroup}) goes before ${rivalId}`;
      if (rival.priority > request.priority) fail(`${before}, which has a greater priority`);
      const gap = (running.get(request.fairGroup) ?? 0) - 1 - (running.get(rival.fairGroup) ?? 0);
      if (gap > 0) fail(`${before}, whose group has ${gap} fewer running`);
      const cameFirst = (order.get(rivalId) ?? 0) < (order.get(id) ?? 0);
      if (rival.fairGroup === request.fairGroup && cameFirst) fail(`${before}, which came first`);
    }
  }

  const mayShare = ({ actionDigest }: ExecutionRequest): boolean => (sharers.get(digestKey(actionDigest)) ?? 0) > 1;

  function checkEnd(ids: readonly string[], outcome: Report): void {
    const end = endOf(outcome);
    const { executionId, attempt, epoch, ending } = outcome;
    for (const id of ids) {
      const before = ends.get(id);
      if (before !== undefined && before !== end) fail(`${id} ended as ${before}, and once more as ${end}`);
      ends.set(id, end);
    }
    if (epoch === undefined) return;
    if (ending?.kind === EndingKind.CANCELLED && ids.every((id) => takenBack.has(id)))
      fail(`${executionId} was stopped on ${outcome.agentId} although it was to be taken back only from the queue`);
    const lease = `${epoch.term}.${epoch.number} of ${outcome.agentId}`;
    for (const id of ids) {
      const holds = lastLease.get(id);
      if (holds !== undefined && holds !== lease) fail(`${id} ended by ${lease} and is leased as ${holds}`);
    }
    if (ending?.kind === EndingKind.EXITED && !keptEpochs.has(end))
      fail(`${executionId} ended before its result was kept`);
    for (let each = 1; each <= attempt; each += 1) {
      if (!endedLogs.has(`${executionId}/${each}`)) fail(`${executionId} ended and log ${each} of ${attempt} did not`);
    }
  }

  return {
    watch: (table, scheduler) => ({
      ...table,
      async load() {
        const rows = await table.load();
        // An end may be on disk without having been heard of: the start before was killed in between.
        for (const { request, lease } of rows) if (lease !== undefined) leased([request.id], lease);
        for (const { request, outcome } of rows) if (outcome !== undefined) checkEnd([request.id], outcome);
        return rows;
      },
      async insert(request, standing) {
        await table.insert(request, standing);
        // It shares what has just ended.
        if (standing.outcome !== undefined) checkEnd([request.id], standing.outcome);
      },
      async lease(ids, attempts, lease) {
        if (lease !== undefined) checkPlacement(ids, lease, scheduler());
        await table.lease(ids, attempts, lease);
        if (lease !== undefined) leased(ids, lease);
      },
      async finish(ids, outcome) {
        await table.finish(ids, outcome);
        checkEnd(ids, outcome);
      },
    }),
    expect(request, isTakenBack) {
      requests.set(request.id, request);
      if (isTakenBack) takenBack.add(request.id);
      const key = digestKey(request.actionDigest);
      sharers.set(key, (sharers.get(key) ?? 0) + 1);
    },
    agent: (id, slots) => void slotsOf.set(id, slots),
    kept: (report) => void keptEpochs.add(endOf(report)),
    attemptEnded: (executionId, attempt) => void endedLogs.add(`${executionId}/${attempt}`),
    begun({ term, number }, agentId) {
      const lease = `${term}.${number} of ${agentId}`;
      if (!leases.has(lease)) fail(`${agentId} begins under the epoch ${term}.${number}, which is not on disk`);
    },
    unfit: (executionId) => void unfit.add(executionId),
    error(error) {
      const { code, message } = from(error);
      if (!weatherCodes.has(code)) fail(`${code}: ${message}`);
    },
    told(id, { ending, attempt, agent }) {
      const said = `${ending.kind} by attempt ${attempt} on "${agent}"`;
      const before = told.get(id);
      if (before !== undefined && before !== said) fail(`${id} is said to have ended as ${before}, then as ${said}`);
      told.set(id, said);
      if (ends.get(id) === undefined) fail(`the end of ${id} is told and not on disk`);
    },
  };
}

/** Tells one end from another: a report by its epoch, an end without one by how it came. */
function endOf({ executionId, attempt, epoch, ending, agentId }: Report): string {
  const at = epoch === undefined ? "no report" : `${epoch.term}.${epoch.number} of ${agentId}`;
  return `${executionId}/${attempt}: ${ending?.kind} by ${at}`;
}

function lineOf({ action, avoidAgents = [] }: ExecutionRequest): string {
  return JSON.stringify([action.platform?.properties.map(({ name, value }) => [name, value]) ?? [], avoidAgents]);
}
