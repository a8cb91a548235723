import { AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import { poolLimits } from "../../../shared/limits/pools.ts";
import { type AgentRecord, type AgentRegistry, offerOf } from "../agents/agent-registry.ts";
import { desiredSize, neededSize, type RecentNeeds, remember } from "./desired-size.ts";
import { isMemberId, memberId } from "./member-id.ts";
import { type AgentSight, type Member, nextSteps, type PoolSteps } from "./members.ts";
import type { PoolProvider } from "./pool-provider.ts";
import type { Learned, LoadedPool, PoolTable, StoredPool } from "./pool-table.ts";
import type { PoolNow, PoolSettings } from "./pools.ts";
import { providerRecord } from "./provider-record.ts";
import { setbacks } from "./setbacks.ts";

export interface PoolKeeperDeps {
  readonly table: PoolTable;
  readonly agents: Pick<AgentRegistry, "list" | "drain" | "remove">;
  readonly clock: Clock;
  readonly provider: PoolProvider;
  /** Ids of the executions that each agent holds. */
  readonly heldBy: () => ReadonlyMap<string, readonly string[]>;
  /** 8 hexadecimal digits that no agent of the pool has had before. */
  readonly random: () => string;
  /** Lets one agent of this pool in. */
  readonly tokenFor: (settings: PoolSettings) => Promise<string>;
  /** `host:port` of the coordinator, for agents. */
  readonly coordinator: () => string;
  /** It may be leaving now, or not any more. */
  readonly onMember: (id: string) => void;
  /** There is more to do at once. */
  readonly onChange: () => void;
  /** Told of what went wrong beside the provider. */
  readonly onError: (error: unknown) => void;
  /** Ends the calls that are under way. */
  readonly signal: AbortSignal;
}

/** Keeps one pool at its size. Calls of its provider are made one after another; a look that comes meanwhile is left out. */
export interface PoolKeeper {
  /** Takes what waits for this pool into account and, when nothing is under way, does what follows. */
  look(queued: number): void;
  /** Something was heard of an agent that may be a member: the provider is asked anew. */
  agentChanged(id: string): void;
  /** An execution kept a slot of a member busy for so long. */
  observed(durationMs: number): void;
  has(id: string): boolean;
  /** Whether it must not be given work any more; true from the moment in which it was found to hold nothing. */
  isLeaving(id: string): boolean;
  now(): PoolNow;
  stored(): StoredPool;
  /** Resolves when it is on disk. */
  change(change: Partial<Pick<StoredPool, "settings" | "isRemoving">>): Promise<void>;
  /** No member is left. */
  isEmpty(): boolean;
  /** Resolves when nothing is under way. */
  idle(): Promise<void>;
  /** The same; then closes the provider. */
  close(): Promise<void>;
}

export function poolKeeper(before: LoadedPool, deps: PoolKeeperDeps): PoolKeeper {
  const { table, agents, clock, provider } = deps;
  let { settings, isRemoving, learned } = before;
  const members = new Map(before.members.map((member) => [member.id, member]));
  /** Who was there before this start counts as needed: nothing goes before an idle time-out has passed. */
  let needs: RecentNeeds = [{ size: members.size, lastMs: clock.monotonicMs() }];
  /** What waits for this pool, and the size that it asks for with what runs. */
  let [queued, needed] = [0, 0];
  const record = providerRecord(provider, clock);
  /** They were told to take work again and have not said yet that they do. */
  const resuming = new Set<string>();
  const calls = setbacks(clock);
  const joins = setbacks(clock);
  let working: Promise<void> | undefined;
  let learnedIsNew = false;
  /** Silence counts from here at the earliest. */
  const startedMs = clock.nowMs();

  const name = (): string => settings.name;
  const stored = (): StoredPool => ({ settings, isRemoving, learned });

  function expectedMs(): number | undefined {
    const { taskTimeMs, startTimeMs = 0 } = learned;
    // Whoever runs one task has to start for each.
    return taskTimeMs === undefined ? undefined : taskTimeMs + (settings.ephemeral ? startTimeMs : 0);
  }

  function running(): number {
    const heldBy = deps.heldBy();
    return [...members.keys()].reduce((sum, id) => sum + (heldBy.get(id)?.length ?? 0), 0);
  }

  function sightOf(): (id: string) => AgentSight | undefined {
    const heldBy = deps.heldBy();
    const records = new Map(agents.list().map((record) => [record.info.id, record]));
    return (id) => {
      const record = records.get(id);
      return record === undefined ? undefined : agentSight(record, heldBy.get(id)?.length ?? 0);
    };
  }

  function agentSight({ state, info, lastHeartbeatMs }: AgentRecord, holds: number): AgentSight {
    if (state === AgentState.ONLINE) resuming.delete(info.id);
    return {
      isHeard: state !== AgentState.LOST,
      isDraining: state === AgentState.DRAINING && !resuming.has(info.id),
      silentMs: clock.nowMs() - Math.max(startedMs, lastHeartbeatMs),
      holds,
    };
  }

  async function work(): Promise<void> {
    const strays = new Set([...(await record.list([...members.values()], deps.signal)), ...strangers(false)]);
    // They joined when their process had been taken for ended, and it was.
    await removeAgents(strangers(true));
    const sight = sightOf();
    const steps = nextSteps({
      needed: isRemoving ? 0 : needed,
      desired: isRemoving ? 0 : desiredSize(needs, settings),
      max: isRemoving ? 0 : settings.max,
      ephemeral: settings.ephemeral,
      joinTimeoutMs: settings.joinTimeoutMs,
      members: [...members.values()],
      agent: sight,
      listed: record.listed,
      isSettled: record.isSettled,
      isRemoved: record.isRemoved,
      nowMs: clock.nowMs(),
    });
    // Their states change in the same turn in which they were seen to hold nothing: nothing can be placed in between.
    const changed = note(steps, strays, sight);
    if (changed.length > 0) await table.putMembers(name(), changed);
    await forget(steps.gone);
    if (learnedIsNew) {
      learnedIsNew = false;
      await table.putPool(stored());
    }
    await tellDrains(steps);
    await add();
    await remove(sight);
    if (changed.length > 0 || steps.gone.length > 0) deps.onChange();
  }

  /** Takes the steps over in memory; returns the rows that have changed. */
  function note(steps: PoolSteps, strays: Iterable<string>, sight: (id: string) => AgentSight | undefined): Member[] {
    const nowMs = clock.nowMs();
    const added = Array.from({ length: joins.waitMs() > 0 ? 0 : steps.add }, (): Member => {
      return { id: memberId(name(), deps.random()), state: "asked", askedMs: nowMs };
    });
    const adopted = [...strays].map((id): Member => {
      record.found(id);
      return { id, state: sight(id)?.isHeard === true ? "joined" : "removing", askedMs: nowMs };
    });
    for (const failure of steps.failures) joins.failed(failure);
    for (const { id, state, askedMs } of steps.moves) {
      if (state === "joined" && members.get(id)?.state === "asked") hasJoined(id, nowMs - askedMs);
      if (state === "joined" && members.get(id)?.state === "leaving") resuming.add(id);
    }
    const changed = [...steps.moves, ...added, ...adopted];
    for (const member of changed) {
      members.set(member.id, member);
      deps.onMember(member.id);
    }
    return changed;
  }

  /** Agents by a name of ours that are no members: their rows went too early, or never came. */
  function strangers(areLost: boolean): string[] {
    return agents
      .list()
      .filter(({ info, state }) => (state === AgentState.LOST) === areLost && isMemberId(info.id, name()))
      .map(({ info }) => info.id)
      .filter((id) => !members.has(id));
  }

  /** At once, so that they share a commit. */
  async function removeAgents(ids: readonly string[]): Promise<void> {
    await Promise.all(ids.map((id) => agents.remove(id).catch(unlessUnknown)));
  }

  function hasJoined(id: string, startTimeMs: number): void {
    joins.succeeded();
    const record = agents.list().find(({ info }) => info.id === id);
    const offer = record === undefined ? learned.offer : offerOf(record);
    learn({ startTimeMs: average(learned.startTimeMs, startTimeMs), offer });
  }

  function learn(news: Learned): void {
    learned = { ...learned, ...news };
    learnedIsNew = true;
  }

  async function forget(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    await removeAgents(ids);
    await table.removeMembers(ids);
    for (const id of ids) {
      members.delete(id);
      deps.onMember(id);
      resuming.delete(id);
      record.forget(id);
    }
  }

  /** Agents are told what their members do: they refuse by themselves, and people see it. */
  async function tellDrains({ moves }: PoolSteps): Promise<void> {
    const back = moves.filter(({ id }) => resuming.has(id));
    const leaving = agents.list().filter(({ state, info }) => state === AgentState.ONLINE && isLeaving(info.id));
    await Promise.all([
      ...back.map(({ id }) => agents.drain(id, false).catch(unlessUnknown)),
      ...leaving.map(({ info }) => agents.drain(info.id, true).catch(unlessUnknown)),
    ]);
  }

  async function add(): Promise<void> {
    const missing = [...members.values()].filter(({ id, state }) => state === "asked" && !record.wasAdded(id));
    if (missing.length === 0) return;
    const { slots, labels, ephemeral } = settings;
    const tokens = missing.map(async ({ id }) => ({ id, token: await deps.tokenFor(settings) }));
    const order = { pool: name(), coordinator: deps.coordinator(), slots, labels, ephemeral };
    await record.add({ ...order, agents: await Promise.all(tokens) }, deps.signal);
  }

  async function remove(sight: (id: string) => AgentSight | undefined): Promise<void> {
    const idle = [...members.values()].filter(({ id, state }) => {
      const agent = sight(id);
      return state === "removing" && !(agent?.isHeard === true && agent.holds > 0);
    });
    const due = record.toRemove(idle.map(({ id }) => id));
    if (due.length === 0) return;
    await record.remove(due, deps.signal);
    deps.onChange();
  }

  function isLeaving(id: string): boolean {
    const state = members.get(id)?.state;
    return state === "leaving" || state === "removing";
  }

  return {
    look(waiting) {
      queued = waiting;
      needed = neededSize({ queued, running: running(), taskTimeMs: expectedMs() }, settings);
      const { idleTimeoutMs } = settings;
      needs = remember(needs, needed, { nowMs: clock.monotonicMs(), idleTimeoutMs });
      if (working !== undefined || calls.waitMs() > 0 || deps.signal.aborted) return;
      working = work()
        .then(() => calls.succeeded())
        .catch((error: unknown) => {
          if (deps.signal.aborted) return;
          record.doubt();
          calls.failed(from(error).message);
          deps.onError(from(error, `keeping the pool ${name()}`));
        })
        .finally(() => {
          working = undefined;
        });
    },
    agentChanged(id) {
      if (members.has(id)) record.doubt();
    },
    observed: (durationMs) => learn({ taskTimeMs: average(learned.taskTimeMs, durationMs) }),
    has: (id) => members.has(id),
    isLeaving,
    now() {
      const sight = sightOf();
      const count = (test: (member: Member) => boolean): number => [...members.values()].filter(test).length;
      return {
        settings,
        isRemoving,
        wanted: isRemoving ? 0 : needed,
        ready: count(({ id, state }) => state === "joined" && isReady(sight(id))),
        starting: count(({ state }) => state === "asked"),
        leaving: count(({ id, state }) => isLeaving(id) || (state === "joined" && !isReady(sight(id)))),
        queued,
        running: running(),
        taskTimeMs: learned.taskTimeMs,
        trouble: calls.trouble() ?? joins.trouble(),
      };
    },
    stored,
    async change(change) {
      await table.putPool({ ...stored(), ...change });
      ({ settings, isRemoving } = { ...stored(), ...change });
      calls.succeeded(); // what was in the way may have been mended by this
      joins.succeeded();
      deps.onChange();
    },
    isEmpty: () => members.size === 0,
    async idle() {
      await working;
    },
    async close() {
      await working;
      await provider.close();
    },
  };
}

function isReady(agent: AgentSight | undefined): boolean {
  return agent?.isHeard === true && !agent.isDraining;
}

/** The newest weighs most, so that a pool follows its work when that changes. */
function average(before: number | undefined, newest: number): number {
  return before === undefined ? newest : before + (newest - before) * poolLimits.newestShare;
}

/** An agent that is known no more needs no word from us. */
function unlessUnknown(error: unknown): void {
  if (!(error instanceof MillraceError) || error.code !== "not_found") throw error;
}
