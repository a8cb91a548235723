import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { limits } from "../../shared/limits.ts";
import { project, startFarm, type TestFarm } from "../support/farm.ts";

const slots = 100;

/** Nothing else runs beside this test, as `npm run test:chaos` has it: then the time that it takes says something. */
const isQuiet = process.env.MILLRACE_QUIET === "1";

let farm: TestFarm;
beforeAll(async () => {
  farm = await startFarm({ agents: 1, slots });
});
afterAll(() => farm.remove());

/** What no other process on the machine sleeps for. */
const seconds = 86_000 + (process.pid % 1_000);

/** Those of the tasks, by what they run. */
function processes(): string[] {
  return readdirSync("/proc").filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, "utf8").startsWith(`sleep\0${seconds}`);
    } catch {
      return false; // it has ended since
    }
  });
}

/** Five processes each: in the group, in a session of their own, and without a parent. None of them heeds SIGTERM. */
const stubborn = `trap '' TERM
sleep ${seconds} &
setsid sleep ${seconds} &
(sleep ${seconds} &) &
(setsid sh -c 'sleep ${seconds} & sleep ${seconds}' &) &
wait`;

it("a hundred tasks that fork and heed no signal are gone soon after the grace when their run is cancelled, and what always runs ran", async () => {
  const tasks = Array.from(
    { length: 100 },
    (_, index) => `      t${index}: { run: *stubborn, inputs: [], cache: false }`,
  );
  const run = stubborn.split("\n").map((line) => `          ${line}`);
  const first = `      first:\n        inputs: []\n        cache: false\n        run: &stubborn |\n${run.join("\n")}`;
  const text = `name: p\nstages:\n  s:\n    tasks:\n${[first, ...tasks.slice(1)].join("\n")}\nfinally: { tasks: { clean: { run: echo cleaned, inputs: [], cache: false } } }\n`;
  const cli = farm.startCli(["run", project({ "millrace.yaml": text })]);
  const [, name = ""] = /(run_\d+)/.exec(await cli.line(/submitted as/)) ?? [];
  await vi.waitFor(() => expect(processes().length).toBeGreaterThanOrEqual(slots * 5), {
    timeout: 60_000,
    interval: 100,
  });

  const cancelledMs = performance.now();
  await farm.cli(["cancel", name]);
  await vi.waitFor(() => expect(processes()).toEqual([]), { timeout: 60_000, interval: 20 });
  const goneMs = performance.now() - cancelledMs;
  expect(goneMs).toBeGreaterThan(limits.killGraceMs - 500); // they had heeded nothing
  if (isQuiet) expect(goneMs).toBeLessThan(limits.killGraceMs + 2_000);
  expect((await cli.result).status).toBe(3);
  const { stdout } = await farm.cli(["show", name, "--json"]);
  const shown = JSON.parse(stdout) as {
    readonly tasks: readonly { readonly name: string; readonly status: string; readonly attempts: number }[];
  };
  const clean = shown.tasks.find(({ name }) => name === "clean");
  expect(clean).toMatchObject({ status: "succeeded", attempts: 1 });
  const others = shown.tasks.filter((task) => task !== clean);
  expect(others).toHaveLength(100);
  expect(others.every(({ status, attempts }) => status === "cancelled" && attempts === 1)).toBe(true);
});
