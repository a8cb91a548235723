import { expect, test } from "vitest";
import { type FarmPools, openFarmPools } from "../../../../../coordinator/farm/pools/farm-pools.ts";
import { type PoolTable, sqlitePoolTable } from "../../../../../coordinator/farm/pools/pool-table.ts";
import type { PoolSettings } from "../../../../../coordinator/farm/pools/pools.ts";
import { from } from "../../../../../shared/errors.ts";
import { execution, startSchedulerFarm } from "../../../../support/scheduler-farm.ts";
import { seeded, simulatedProvider } from "../../../../support/simulated-provider.ts";

const settings: PoolSettings = {
  ...{ name: "race", min: 0, max: 0, slots: 1, labels: {}, ephemeral: false, provider: { kind: "local-process" } },
  ...{ targetWaitMs: 1_000, idleTimeoutMs: 1_000, joinTimeoutMs: 10_000 },
};

/** A scheduler with simulated agents of pools, on a clock that moves 50 ms a turn of the event loop. */
async function poolFarm(seed: number) {
  const random = seeded(seed);
  const provider = simulatedProvider(() => farm, random);
  const opened = Promise.withResolvers<{ pools: FarmPools; table: PoolTable }>();
  let made = 0;
  const farm = await startSchedulerFarm({
    async openPools({ sqlite, ...parts }) {
      const table = sqlitePoolTable(sqlite);
      const pools = await openFarmPools({
        ...{ ...parts, table, providerOf: () => provider, checkProvider: () => undefined, knownLabels: () => ({}) },
        random: () => (made++).toString(16).padStart(8, "0"),
        tokenFor: async () => "token",
        coordinator: () => "127.0.0.1:1",
        onError: (error) => expect(from(error).code).toBe("unavailable"), // as the provider says
      });
      opened.resolve({ pools, table });
      return pools;
    },
  });
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
  return { random, provider, pools, table, turn, until, made: () => made, farm };
}

test("10,000 agents that are called off while they register leave no ghost and lose no work", async () => {
  const { farm, random, provider, pools, table, turn, until, made } = await poolFarm(20_261_128);
  const finished = new Set<string>();
  let submitted = 0;
  farm.scheduler.subscribe((update) => {
    if (update.kind !== "finished") return;
    expect(finished.has(update.id)).toBe(false);
    finished.add(update.id);
  });
  await pools.set({ ...settings, max: 200 });

  while (made() < 10_000) {
    await pools.scale("race", { min: 200, max: 200 });
    for (let count = random() * 20; count > 0; count -= 1) {
      await farm.scheduler.submit(execution(`e${submitted++}`, { labels: { pool: "race" } }));
    }
    for (let turns = random() * 60; turns > 0; turns -= 1) await turn();
    await pools.scale("race", { min: 0, max: 0 });
    for (let turns = random() * 60; turns > 0; turns -= 1) await turn();
    expect(provider.running().length).toBeLessThanOrEqual(200);
  }
  provider.calm();
  await pools.scale("race", { min: 0, max: 50 });
  await until(() => finished.size === submitted);
  await until(() => provider.running().length === 0 && farm.agents.list().length === 0);
  const [pool] = pools.list();
  expect(pool).toMatchObject({ wanted: 0, ready: 0, starting: 0, leaving: 0, queued: 0, running: 0 });
  await pools.remove("race");
  await until(() => pools.list().length === 0);
  expect(await table.load()).toEqual([]);
  expect(provider.wronged).toEqual([]);
  expect(provider.joins()).toBeGreaterThan(2_000);
  expect(finished.size).toBeGreaterThan(100);
});
