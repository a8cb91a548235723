import { expect, test } from "vitest";
import type { PoolSettings } from "../../../../../coordinator/farm/pools/pools.ts";
import { startPoolFarm } from "../../../../support/pool-farm.ts";
import { execution } from "../../../../support/scheduler-farm.ts";
import { seeded, simulatedProvider } from "../../../../support/simulated-provider.ts";

const settings: PoolSettings = {
  ...{ name: "race", min: 0, max: 0, slots: 1, labels: {}, ephemeral: false, provider: { kind: "local-process" } },
  ...{ targetWaitMs: 1_000, idleTimeoutMs: 1_000, joinTimeoutMs: 10_000 },
};

test("10,000 agents that are called off while they register leave no ghost and lose no work", async () => {
  const random = seeded(20_261_128);
  const provider = simulatedProvider(() => farm, random);
  const { farm, pools, table, turn, until, made } = await startPoolFarm(provider);
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
  await until(() => pools.list()[0]?.leaving === 0); // the last rows go after the last agents
  const [pool] = pools.list();
  expect(pool).toMatchObject({ wanted: 0, ready: 0, starting: 0, leaving: 0, queued: 0, running: 0 });
  await pools.remove("race");
  await until(() => pools.list().length === 0);
  expect(await table.load()).toEqual([]);
  expect(provider.wronged).toEqual([]);
  expect(provider.joins()).toBeGreaterThan(2_000);
  expect(finished.size).toBeGreaterThan(100);
});
