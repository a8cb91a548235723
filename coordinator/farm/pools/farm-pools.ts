import { type AgentInfo, AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import type { Component } from "../../../shared/lifecycle.ts";
import { poolLimits } from "../../../shared/limits/pools.ts";
import type { ToolOffer } from "../../../shared/pipeline/resolve-tools.ts";
import type { AgentRegistry } from "../agents/agent-registry.ts";
import type { PoolOutlook, PoolWatcher, ScalingPool } from "../scheduler/agent-places.ts";
import type { QueueView } from "../scheduler/queue-view.ts";
import type { ExecutionUpdate, Scheduler } from "../scheduler/scheduler.ts";
import { checkBounds, checkSettings } from "./check-settings.ts";
import { demandOf } from "./demand.ts";
import { type PoolKeeper, type PoolKeeperDeps, poolKeeper } from "./pool-keeper.ts";
import { offerOfPool } from "./pool-offer.ts";
import type { PoolProvider } from "./pool-provider.ts";
import type { LoadedPool, StoredPool } from "./pool-table.ts";
import type { PoolNow, PoolSettings, Pools, ProviderSettings } from "./pools.ts";

export interface FarmPoolsDeps
  extends Pick<PoolKeeperDeps, "table" | "clock" | "random" | "tokenFor" | "coordinator" | "onError"> {
  readonly agents: AgentRegistry;
  /** Asked from the start on: the scheduler itself asks the pools. */
  readonly scheduler: () => Pick<Scheduler, "stats" | "subscribe"> & { readonly view: Pick<QueueView, "lines"> };
  /** Of a pool that is not static. */
  readonly providerOf: (settings: PoolSettings) => PoolProvider;
  /** Throws `invalid_argument` when it cannot be used here. */
  readonly checkProvider: (provider: ProviderSettings) => void;
  /** Labels that agents of this pool are known to have before the first one has joined. */
  readonly knownLabels: (settings: PoolSettings) => Readonly<Record<string, string>>;
}

/** The pools of a farm: what is asked of them, what they tell the scheduler, and the clockwork that keeps them. */
export interface FarmPools extends Pools, PoolOutlook, Component {
  /** What agents of pools would offer, for planning. */
  offers(): readonly ToolOffer[];
}

/** Reads them from disk: before the scheduler starts, so that no member that was given up is given work. */
export async function openFarmPools(deps: FarmPoolsDeps): Promise<FarmPools> {
  const { table, agents, clock } = deps;
  const ending = new AbortController();
  const ends: (() => void)[] = [];
  /** Those with a provider of their own; at most `poolLimits.poolsMax` with the static ones. */
  const keepers = new Map<string, PoolKeeper>();
  const statics = new Map<string, StoredPool>();
  /** When the executions began that members hold now, on the monotonic clock. */
  const begun = new Map<string, { readonly pool: string; readonly atMs: number }>();
  const forgetting = new Set<string>();
  const watchers: PoolWatcher[] = [];
  /** As of the last look or change. */
  let scaling: readonly ScalingPool[] = [];
  let cancelLook = (): void => {};
  let lookAtMs = Number.POSITIVE_INFINITY;
  for (const pool of await table.load()) hold(pool);
  refresh();

  function hold(pool: LoadedPool): void {
    const { settings } = pool;
    if (settings.provider.kind === "static") return void statics.set(settings.name, pool);
    const keeper = poolKeeper(pool, {
      ...deps,
      provider: deps.providerOf(settings),
      heldBy,
      onChange: () => lookWithin(poolLimits.kickMs),
      onMember(id) {
        for (const watcher of watchers) watcher.leavingChanged(id);
      },
      signal: ending.signal,
    });
    keepers.set(settings.name, keeper);
  }

  function lookWithin(delayMs: number): void {
    const atMs = clock.monotonicMs() + delayMs;
    if (keepers.size === 0 || ending.signal.aborted || atMs >= lookAtMs) return;
    cancelLook();
    lookAtMs = atMs;
    cancelLook = clock.after(delayMs, look);
  }

  function look(): void {
    lookAtMs = Number.POSITIVE_INFINITY;
    const growing = [...keepers.values()].map((keeper) => keeper.stored()).filter(canGrow);
    const demand = demandOf(deps.scheduler().view.lines(), growing.map(offer));
    for (const [name, keeper] of keepers) {
      if (keeper.stored().isRemoving && keeper.isEmpty()) forget(name, keeper);
      else keeper.look(demand.get(name) ?? 0);
    }
    refresh();
    lookWithin(poolLimits.tickMs);
  }

  function refresh(): void {
    const growing = [...keepers.values()].filter((keeper) => canGrow(keeper.stored()));
    scaling = growing.map((keeper) => {
      let outlook: string | undefined; // counted once, if anybody asks
      return { ...offer(keeper.stored()), outlook: () => (outlook ??= outlookOf(keeper.now())) };
    });
    for (const watcher of watchers) watcher.scalingChanged();
  }

  /** What waits may wait for something else now. */
  function changed(): void {
    refresh();
    lookWithin(0);
  }

  /** It is known until its row has gone; when that fails, the next look tries again. */
  function forget(name: string, keeper: PoolKeeper): void {
    if (forgetting.has(name)) return;
    forgetting.add(name);
    keeper
      .close()
      .then(() => table.removePool(name))
      .then(() => keepers.delete(name), deps.onError)
      .finally(() => forgetting.delete(name));
  }

  function offer(pool: StoredPool) {
    return offerOfPool(pool, deps.knownLabels(pool.settings));
  }

  /** How long what a pool's agents run takes; what was cut short says nothing. */
  function observe(update: ExecutionUpdate): void {
    const { id } = update;
    const before = begun.get(id);
    begun.delete(id);
    if (update.kind === "started" && update.execution === id) {
      const pool = [...keepers].find(([, keeper]) => keeper.has(update.agent))?.[0];
      if (pool !== undefined) begun.set(id, { pool, atMs: clock.monotonicMs() });
    }
    if (update.kind !== "started") lookWithin(poolLimits.kickMs);
    if (update.kind !== "finished" || before === undefined || update.outcome.ending.kind !== EndingKind.EXITED) return;
    keepers.get(before.pool)?.observed(clock.monotonicMs() - before.atMs);
  }

  function required(name: string): StoredPool {
    const pool = keepers.get(name)?.stored() ?? statics.get(name);
    if (pool === undefined) throw new MillraceError("not_found", `there is no pool "${name}"; see \`millrace pools\``);
    if (pool.isRemoving) throw removing(name);
    return pool;
  }

  function nowOf(name: string): PoolNow {
    const found = list().find(({ settings }) => settings.name === name);
    if (found === undefined) throw new MillraceError("not_found", `there is no pool "${name}" any more`);
    return found;
  }

  /** With what they may have beside it: until they say that they have it not, they are not idle. */
  function heldBy(): ReadonlyMap<string, readonly string[]> {
    const stats = deps.scheduler().stats();
    if (stats.strays.size === 0) return stats.heldBy;
    const all = new Map(stats.heldBy);
    for (const [id, strays] of stats.strays) all.set(id, [...new Set([...(all.get(id) ?? []), ...strays])]);
    return all;
  }

  function list(): readonly PoolNow[] {
    const held = heldBy();
    const byPool = Map.groupBy(agents.list(), ({ info }) => info.labels.pool ?? "");
    const named = [...byPool.keys()].filter((name) => name !== "" && !keepers.has(name) && !statics.has(name));
    const fixed = [...[...statics.values()].map(({ settings }) => settings), ...named.map(staticPool)];
    const all = [
      ...[...keepers.values()].map((keeper) => keeper.now()),
      ...fixed.map((settings) =>
        staticNow(settings, byPool.get(settings.name) ?? [], (id) => held.get(id)?.length ?? 0),
      ),
    ];
    return all.sort((a, b) => (a.settings.name < b.settings.name ? -1 : 1));
  }

  async function keep(settings: PoolSettings): Promise<void> {
    const pool: StoredPool = { settings, isRemoving: false, learned: {} };
    const keeper = keepers.get(settings.name);
    const before = keeper?.stored().settings.provider;
    if (keeper !== undefined && JSON.stringify(before) === JSON.stringify(settings.provider)) {
      return keeper.change({ settings });
    }
    deps.checkProvider(settings.provider);
    keepers.delete(settings.name);
    try {
      if (keeper !== undefined) await close(keeper);
      const learned = keeper?.stored().learned ?? {};
      await table.putPool({ ...pool, learned });
      statics.delete(settings.name);
      hold({ ...pool, learned, members: [] });
    } catch (error) {
      if (keeper !== undefined) keepers.set(settings.name, keeper);
      throw error;
    }
  }

  /** Its provider cannot be changed while it has agents: the new one would know nothing of them. */
  async function close(keeper: PoolKeeper): Promise<void> {
    const { name, provider } = keeper.stored().settings;
    const inUse = new MillraceError(
      "failed_precondition",
      `the provider ${provider.kind} still has agents of the pool "${name}": scale it to 0 and wait, then change the provider`,
    );
    if (!keeper.isEmpty()) throw inUse;
    await keeper.idle();
    if (!keeper.isEmpty()) throw inUse;
    await keeper.close();
  }

  return {
    name: "pools",
    async start() {
      ends.push(
        deps.scheduler().subscribe(observe),
        agents.subscribe(({ kind, agent }) => {
          if (kind === "heartbeat") return;
          if (kind !== "joined") for (const keeper of keepers.values()) keeper.agentChanged(agent.info.id);
          if (isOfPool(agent.info)) lookWithin(poolLimits.kickMs);
        }),
      );
      lookWithin(0);
    },
    async stop() {
      ending.abort(new MillraceError("canceled", "the coordinator stops"));
      cancelLook();
      for (const end of ends) end();
      await Promise.all([...keepers.values()].map((keeper) => keeper.close()));
    },

    list,
    async set(settings) {
      checkSettings(settings);
      const known = keepers.get(settings.name)?.stored() ?? statics.get(settings.name);
      if (known?.isRemoving === true) throw removing(settings.name);
      if (known === undefined && keepers.size + statics.size >= poolLimits.poolsMax) {
        throw new MillraceError(
          "resource_exhausted",
          `there are ${poolLimits.poolsMax} pools already: remove one first`,
        );
      }
      await keep(settings);
      changed();
      return nowOf(settings.name);
    },
    async scale(name, bounds) {
      const { settings } = required(name);
      if (settings.provider.kind === "static") {
        throw new MillraceError(
          "failed_precondition",
          `the pool "${name}" is static: people start and end its agents; give it a provider with \`millrace pools set\``,
        );
      }
      checkBounds({ name, ...bounds });
      await keep({ ...settings, min: bounds.min, max: bounds.max });
      changed();
      return nowOf(name);
    },
    async remove(name) {
      const pool = required(name);
      const keeper = keepers.get(name);
      if (keeper === undefined) {
        await table.removePool(pool.settings.name);
        statics.delete(name);
      } else await keeper.change({ isRemoving: true });
      changed();
    },

    scaling: () => scaling,
    watch: (watcher) => void watchers.push(watcher),
    isLeaving: (id) => [...keepers.values()].some((keeper) => keeper.isLeaving(id)),
    offers: () =>
      [...keepers.values()]
        .map((keeper) => keeper.stored())
        .filter(canGrow)
        .map((pool) => ({ labels: offer(pool).labels, tools: pool.learned.offer?.tools ?? [] })),
  };

  function isOfPool({ id, labels }: AgentInfo): boolean {
    return keepers.has(labels.pool ?? "") || [...keepers.values()].some((keeper) => keeper.has(id));
  }
}

function canGrow({ settings, isRemoving }: StoredPool): boolean {
  return settings.max > 0 && !isRemoving;
}

function outlookOf({ settings: { max }, ready, starting, wanted }: PoolNow): string {
  return `${ready} agents take work, ${starting} are starting, ${wanted} are wanted, at most ${max}`;
}

function removing(name: string): MillraceError {
  return new MillraceError(
    "failed_precondition",
    `the pool "${name}" is being removed; wait until its last agent has gone`,
  );
}

function staticPool(name: string): PoolSettings {
  return {
    ...{ name, min: 0, max: 0, ephemeral: false, slots: 1, labels: {}, provider: { kind: "static" } },
    targetWaitMs: poolLimits.targetWaitMs,
    idleTimeoutMs: poolLimits.idleTimeoutMs,
    joinTimeoutMs: poolLimits.joinTimeoutMs,
  };
}

function staticNow(
  settings: PoolSettings,
  agents: ReturnType<AgentRegistry["list"]>,
  held: (id: string) => number,
): PoolNow {
  const ready = agents.filter(({ state }) => state === AgentState.ONLINE).length;
  return {
    ...{ settings, wanted: ready, ready, starting: 0, queued: 0, isRemoving: false },
    leaving: agents.filter(({ state }) => state === AgentState.DRAINING).length,
    running: agents.reduce((sum, { info }) => sum + held(info.id), 0),
    taskTimeMs: undefined,
    trouble: undefined,
  };
}
