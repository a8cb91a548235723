import { expect, it } from "vitest";
import { checkBounds, checkSettings } from "../../../../../coordinator/farm/pools/check-settings.ts";
import type { PoolSettings } from "../../../../../coordinator/farm/pools/pools.ts";
import { poolLimits } from "../../../../../shared/limits/pools.ts";
import { limits } from "../../../../../shared/limits.ts";

const good: PoolSettings = {
  ...{ name: "linux", min: 0, max: 8, slots: 2, labels: { disk: "nvme" }, ephemeral: false },
  ...{ targetWaitMs: 1_000, idleTimeoutMs: 1_000, joinTimeoutMs: 1_000, provider: { kind: "local-process" } },
};

it("takes settings at their bounds", () => {
  const [targetWaitMs, idleTimeoutMs] = [poolLimits.timeMaxMs, poolLimits.timeMaxMs];
  checkSettings(good);
  checkSettings({ ...good, targetWaitMs, idleTimeoutMs, joinTimeoutMs: poolLimits.joinTimeoutMaxMs, max: 1_000 });
  checkSettings({ ...good, name: "x".repeat(48), slots: limits.agentSlots, min: 8 });
  checkSettings({ ...good, provider: { kind: "exec", command: Array.from({ length: 64 }, () => "x".repeat(4096)) } });
});

it("names everything that is wrong at once", () => {
  const labels = { pool: "x", "a b": "c" };
  expect(() =>
    checkSettings({
      ...good,
      min: 9,
      slots: 2,
      ephemeral: true,
      idleTimeoutMs: 999,
      labels,
      provider: { kind: "exec", command: [] },
    }),
  ).toThrow(
    'pool "linux": max is 8, below min, which is 9; the idle time-out is 0.999 s, not 1 s to 24 h; an ephemeral agent has ' +
      "one slot, not 2; a b is no label: name=value, without spaces; the label pool is given by the farm; exec needs a command",
  );
});

it.each([
  ["a name that no label could be", { name: "Linux!" }, /its name is not 1 to 48/],
  ["too many agents", { max: 1_001 }, /max is 1001, above 1000/],
  ["less than none", { min: -1 }, /min is -1, below 0/],
  ["too many slots", { slots: 1_025 }, /slots is 1025, not 1 to 1024/],
  ["a time without end", { targetWaitMs: poolLimits.timeMaxMs + 1 }, /the target wait is 86400.001 s, not 1 s to 24 h/],
  ["an endless boot", { joinTimeoutMs: 3_600_001 }, /the join time-out is 3600.001 s, not 1 s to 1 h/],
  ["a word too long", { provider: { kind: "exec", command: ["/x", "y".repeat(4097)] } }, /longer than 4096 bytes/],
  [
    "too many words",
    { provider: { kind: "exec", command: Array.from({ length: 65 }, () => "/x") } },
    /more than 64 words/,
  ],
] satisfies [string, Partial<PoolSettings>, RegExp][])("refuses %s", (_, change, message) => {
  expect(() => checkSettings({ ...good, ...change })).toThrow(message);
});

it("checks bounds alone when only they are changed", () => {
  expect(() => checkBounds({ name: "linux", min: 3, max: 2 })).toThrow('pool "linux": max is 2, below min, which is 3');
  checkBounds({ name: "linux", min: 3, max: 3 });
});
