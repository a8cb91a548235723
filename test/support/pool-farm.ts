import { expect } from "vitest";
import { type FarmPools, openFarmPools } from "../../coordinator/farm/pools/farm-pools.ts";
import type { AgentOrder, PoolProvider } from "../../coordinator/farm/pools/pool-provider.ts";
import { type PoolTable, sqlitePoolTable } from "../../coordinator/farm/pools/pool-table.ts";
import { inProcessBus } from "../../shared/bus/in-process-bus.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { fakeClock } from "./fake-clock.ts";
import { startSchedulerFarm } from "./scheduler-farm.ts";

/** A scheduler with pools that have this provider, on a clock that moves 50 ms a turn. */
export async function startPoolFarm(provider: PoolProvider, parts: Parameters<typeof startSchedulerFarm>[0] = {}) {
  const opened = Promise.withResolvers<{ pools: FarmPools; table: PoolTable }>();
  let made = 0;
  const clock = fakeClock();
  const farm = await startSchedulerFarm({
    ...{ clock, broker: inProcessBus(clock) }, // on this clock, too, a busy machine makes no answer late
    ...parts,
    async openPools({ sqlite, ...known }) {
      const table = sqlitePoolTable(sqlite);
      const pools = await openFarmPools({
        ...{ ...known, table, providerOf: () => provider, checkProvider: () => undefined, knownLabels: () => ({}) },
        random: () => (made++).toString(16).padStart(8, "0"),
        tokenFor: async () => "token",
        coordinator: () => "127.0.0.1:1",
        onError: (error) => expect(from(error).code).toBe("unavailable"), // as a provider says that fails
      });
      opened.resolve({ pools, table });
      return pools;
    },
  });
  /** Time goes on when the disk has done what it was asked for: else a slow disk would look like lost agents. */
  const turn = async (): Promise<void> => {
    await farm.written();
    farm.clock.advance(50);
  };
  const { pools, table } = await opened.promise;
  const until = async (isSo: () => boolean): Promise<void> => {
    for (let turns = 0; !isSo(); turns += 1) {
      if (turns > 20_000) throw new Error(`it never came to be so: ${JSON.stringify(pools.list())}`);
      await turn();
    }
  };
  const untilMs = async (delayMs: number): Promise<void> => {
    const endMs = farm.clock.monotonicMs() + delayMs;
    await until(() => farm.clock.monotonicMs() >= endMs);
  };
  return { farm, pools, table, turn, until, untilMs, made: () => made };
}

/** A provider that starts nothing and writes down what it was asked for. */
export function recordingProvider() {
  const running = new Set<string>();
  const calls: string[] = [];
  const orders: AgentOrder[] = [];
  let failure: string | undefined;
  const fail = (call: string): void => {
    calls.push(call);
    if (failure !== undefined) throw new MillraceError("unavailable", failure);
  };
  const provider: PoolProvider = {
    async add(order) {
      fail(`add ${order.agents.map(({ id }) => id).join(" ")}`);
      orders.push(order);
      for (const { id } of order.agents) running.add(id);
    },
    async remove(ids) {
      fail(`remove ${ids.join(" ")}`);
      for (const id of ids) running.delete(id);
    },
    async list() {
      fail("list");
      return [...running];
    },
    close: async () => undefined,
  };
  return {
    ...{ provider, running, calls, orders },
    /** From now on every call fails with these words; undefined ends that. */
    failWith(words: string | undefined) {
      failure = words;
    },
  };
}
