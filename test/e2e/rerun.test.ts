import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { project, startFarm, type TestFarm } from "../support/farm.ts";

let farm: TestFarm;
beforeAll(async () => {
  farm = await startFarm({ agents: 2, slots: 2 });
});
afterAll(() => farm.remove());

interface Shown {
  readonly run: string;
  readonly status: string;
  readonly tasks: readonly (Record<"name" | "status" | "agent" | "skipReason", string> & {
    readonly try: number;
    readonly tries: readonly { readonly ending: string }[];
    readonly wait?: { readonly code: string };
  })[];
}

const json = async (...args: string[]): Promise<Shown> => JSON.parse((await farm.cli([...args, "--json"])).stdout);
const show = (run: string) => json("show", run);
const codes = async (run: string) => (await show(run)).tasks.map(({ wait, status }) => wait?.code ?? status);
/** The command line is asked until it says so. */
const until = (check: () => Promise<void>) => vi.waitFor(check, { timeout: 30_000, interval: 200 });

/** What is outside the farm: tasks ask it by name, and it answers when and as the test says. */
async function world() {
  const asked = new Map<string, ServerResponse[]>();
  const server = createServer(({ url = "" }, response) => {
    const name = url.slice(1);
    asked.set(name, [...(asked.get(name) ?? []), response]);
    server.emit("asked");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    /** A script that asks, and ends with what it is told. */
    script: `const { status } = await fetch("http://127.0.0.1:${port}/" + process.argv[2]);\nprocess.exit(status === 200 ? 0 : 1);\n`,
    /** Answers the next task that asks under this name; `well` says whether that makes it succeed. */
    async answer(name: string, well: boolean): Promise<void> {
      for (;;) {
        const [response, ...more] = asked.get(name) ?? [];
        if (response !== undefined) {
          asked.set(name, more);
          return void response.writeHead(well ? 200 : 500).end();
        }
        await once(server, "asked");
      }
    },
  };
}

describe("a chain of ten whose ninth step fails by something outside", () => {
  it("is re-run after the fix in exactly two steps, on another agent, while siblings of the first run still run", async () => {
    const outside = await world();
    const steps = Array.from({ length: 10 }, (_, n) => `t${n + 1}`);
    const tasks = steps.map((name, n) => {
      const run = name === "t9" ? "node ask.mjs t9" : `echo ${name}`;
      return `      ${name}: { run: ${run}${n === 0 ? "" : `, needs: [t${n}]`} }`;
    });
    const sibling = "      sibling: { run: node ask.mjs sibling }";
    const yaml = `name: chain\nstages:\n  s:\n    tasks:\n${[...tasks, sibling].join("\n")}\n`;
    const { run } = await json("run", project({ "millrace.yaml": yaml, "ask.mjs": outside.script }), "--detach");
    await outside.answer("t9", false);
    await until(async () => expect((await show(run)).tasks[8]?.status).toBe("failed"));
    const before = (await show(run)).tasks;
    expect(before.map(({ status }) => status)).toEqual([...Array(8).fill("succeeded"), "failed", "skipped", "running"]);
    const started = farm.processStarts().length;

    const nobody = await farm.cli(["retry", run, "--avoid", "agent-99"]);
    expect(nobody.stderr).toContain('no agent "agent-99"; there are: ');
    const again = await farm.cli(["retry", run, "--other-agent"]);
    expect(again.stdout).toBe(`2 tasks of ${run} once more: s/t9, s/t10\n`);
    await outside.answer("t9", true);
    await until(async () => expect((await show(run)).tasks[9]?.status).toBe("succeeded"));
    const after = await show(run);
    expect(after.status).toBe("running"); // its sibling has never stopped
    expect(after.tasks[8]).toMatchObject({ status: "succeeded", try: 2, tries: [{ ending: "exited with 1" }] });
    expect(after.tasks[8]?.agent).not.toBe(before[8]?.agent);
    expect(farm.processStarts().length - started).toBe(2);
    await outside.answer("sibling", true);
    await until(async () => expect((await show(run)).status).toBe("succeeded"));

    // From a step in the middle, now that the run has finished: what comes after it has its results in the cache.
    expect((await farm.cli(["retry", run, "--from", "t8", "--no-cache"])).stdout).toContain("3 tasks");
    await until(async () => expect((await show(run)).status).toBe("succeeded"));
    expect((await show(run)).tasks.map((task) => task.try)).toEqual([1, 1, 1, 1, 1, 1, 1, 2, 3, 2, 1]);
    expect(farm.processStarts().length - started).toBe(3);
    expect((await farm.cli(["logs", run, "t8"])).stdout).toBe("t8\n");
    const flow = await farm.cli(["flow"]);
    expect(flow.status, flow.stderr).toBe(0);
  }, 120_000);
});

describe("a task that fails by itself", () => {
  it("is tried again by its policy, its log of each try can be read, and what is allowed to fail fails no run", async () => {
    const yaml = `name: flaky
stages:
  s:
    tasks:
      flaky: { run: "echo this is try $MILLRACE_TRY; test $MILLRACE_TRY = 2", retry: { times: 2, on: [exit 1], delay: 100ms } }
      lint: { run: "exit 3", allow_failure: true, retry: { times: 1, on: [exit 1] } }
      ship: { run: echo shipped, needs: [flaky, lint], inputs: [] }
`;
    const { status, stdout } = await farm.cli(["run", project({ "millrace.yaml": yaml })]);
    expect(status, stdout).toBe(0);
    expect(stdout).toMatch(/^s\/flaky +│ exited with 1; try 2 follows$/m);
    expect(stdout).toMatch(/^s\/flaky +│ started on agent-\d, try 2$/m);
    expect(stdout).toMatch(/run_\d+ succeeded, with 1 allowed failure/);
    const run = /run_\d+/.exec(stdout)?.[0] ?? "";
    for (const [args, text] of [
      [["--try", "1"], "this is try 1\n"],
      [["--try", "2"], "this is try 2\n"],
      [[], "this is try 2\n"],
    ] as const) {
      expect((await farm.cli(["logs", run, "flaky", ...args])).stdout).toBe(text);
    }
    expect((await farm.cli(["logs", run, "flaky", "--try", "3"])).stderr).toContain("has had 2 tries, not 3");
    const shown = await farm.cli(["show", run]);
    expect(shown.stdout).toMatch(/s\/lint +failed .*exited with 3, which is allowed/);
    expect(shown.stdout).toContain(`millrace logs ${run} s/flaky --try 1`);
  }, 60_000);
});

describe("a run that is paused", () => {
  it("takes back what waits for an agent, lets what runs go on, and goes on without what was skipped", async () => {
    const outside = await world();
    const names = ["h1", "h2", "h3", "h4", "h5"];
    const tasks = names.map((name) => `      ${name}: { run: node ask.mjs ${name}, cache: false }`);
    const after = [
      "      load: { run: exit 1, needs: [h1] }",
      "      last: { run: echo last, needs: [load], inputs: [] }",
    ];
    const yaml = `name: paused\nstages:\n  s:\n    tasks:\n${[...tasks, ...after].join("\n")}\n`;
    const { run } = await json("run", project({ "millrace.yaml": yaml, "ask.mjs": outside.script }), "--detach");
    const four = Array(4).fill("running");
    await until(async () => expect((await codes(run)).toSorted()).toEqual(["agents-busy", "needs", "needs", ...four]));

    expect((await farm.cli(["pause", run, "--reason", "lunch"])).status).toBe(0);
    await until(async () => expect((await codes(run)).toSorted()).toEqual(["needs", "needs", "paused", ...four]));
    const held = (await show(run)).tasks.find(({ wait }) => wait?.code === "paused")?.name ?? "";
    expect((await farm.cli(["skip", run, "load", "--reason", "not today"])).status).toBe(0);
    expect((await farm.cli(["comment", run, "back at one", "--task", held])).status).toBe(0);
    for (const name of names) if (name !== held) await outside.answer(name, true);
    const done = Array(4).fill("succeeded");
    await until(async () => {
      expect((await codes(run)).toSorted()).toEqual(["paused", "paused", "skipped", ...done]);
    });
    const shown = (await farm.cli(["show", run])).stdout;
    expect(shown).toMatch(/^paused by token:admin, .*: lunch; it goes on with `millrace resume run_\d+`$/m);
    expect(shown).toMatch(new RegExp(`^token:admin on s/${held}, .*: back at one$`, "m"));
    expect(shown).toContain("skipped by token:admin: not today");

    expect((await farm.cli(["resume", run])).status).toBe(0);
    await outside.answer(held, true);
    await until(async () => expect((await show(run)).status).toBe("succeeded"));
    expect((await show(run)).tasks.find(({ name }) => name === held)).toMatchObject({ try: 1, tries: [] });
  }, 90_000);
});

describe("a run that is cancelled", () => {
  it("tidies up all the same, and is re-run from where it was", async () => {
    const outside = await world();
    const yaml = `name: tidy
stages:
  s:
    tasks:
      work: { run: node ask.mjs work, cache: false }
      next: { run: echo next, needs: [work] }
finally:
  tasks:
    tidy: { run: echo tidied, cache: false }
`;
    const { run } = await json("run", project({ "millrace.yaml": yaml, "ask.mjs": outside.script }), "--detach");
    const statuses = async () => (await show(run)).tasks.map(({ status }) => status);
    await until(async () => expect((await statuses())[0]).toBe("running"));
    expect((await farm.cli(["cancel", run, "--reason", "enough"])).status).toBe(0);
    await until(async () => expect((await show(run)).status).toBe("cancelled"));
    expect(await statuses()).toEqual(["cancelled", "cancelled", "succeeded"]);
    expect((await farm.cli(["logs", run, "tidy"])).stdout).toBe("tidied\n");

    await outside.answer("work", true); // the one that was stopped asks no more
    expect((await farm.cli(["retry", run])).stdout).toContain("3 tasks");
    await outside.answer("work", true);
    await until(async () => expect((await show(run)).status).toBe("succeeded"));
    expect((await show(run)).tasks.map((task) => task.try)).toEqual([2, 1, 2]); // the second was never begun
  }, 60_000);
});
