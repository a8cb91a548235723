import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { project, startFarm, type TestFarm } from "../support/farm.ts";

let farm: TestFarm;
beforeAll(async () => {
  farm = await startFarm({ agents: 1 });
});
afterAll(() => farm.remove());

function shop(manual: string): string {
  return project({
    "millrace.yaml": `name: shop
stages:
  build:
    tasks:
      bundle: { run: "mkdir -p dist && cp app.txt dist/", outputs: { app: dist/ } }
  explore:
    needs: [build]
    manual: ${manual}
  publish:
    needs: [explore]
    tasks:
      upload: { run: "cat app/app.txt", use: [app], inputs: [], cache: false }
`,
    "app.txt": "the app\n",
  });
}

/** Submits and waits until its gate is open; gives the run's name and the call that follows it. */
async function atTheGate(manual: string) {
  const cli = farm.startCli(["run", shop(manual)]);
  const [, run = ""] = /(run_\d+)/.exec(await cli.line(/submitted as/)) ?? [];
  await cli.line(/^explore\/approval.*waits: a person has to decide/);
  return { run, result: cli.result };
}

const json = async (...args: string[]) => JSON.parse((await farm.cli([...args, "--json"])).stdout);

describe("a manual stage", () => {
  it("holds the run until somebody approves what show has shown, and then the run goes on", async () => {
    const { run, result } = await atTheGate("{ title: Look at it, checklist: [checkout works], approvers: [admin] }");
    const shown = await farm.cli(["show", run]);
    expect(shown.stdout).toMatch(/^gate explore +Look at it$/m);
    expect(shown.stdout).toContain("[ ] 1 checkout works");
    const binding = /binding ([0-9a-f]{64})/.exec(shown.stdout)?.[1] ?? "";

    const other = await farm.cli(["approve", run, "explore", "--binding", "0".repeat(64)]);
    expect(other.status).toBe(3);
    expect(other.stderr).toContain(`now binds ${binding}`);

    const unticked = await farm.cli(["approve", run, "explore", "--binding", binding, "--comment", "fine"]);
    expect(unticked.status).toBe(3);
    expect(unticked.stderr).toContain(
      'checklist: not ticked is 1 "checkout works"; tick what you have looked at with --check 1,',
    );

    const word = ["--binding", binding, "--check", "1", "--comment", "fine"];
    const approved = await farm.cli(["approve", run, "explore", ...word]);
    expect(approved.stderr + approved.stdout).toContain(`approved explore of ${run}`);
    expect(approved.status).toBe(0);
    const { status, stdout } = await result;
    expect(status).toBe(0);
    expect(stdout).toMatch(/^explore\/approval +.*approved by token:admin: fine$/m);
    expect(stdout).toMatch(/^publish\/upload +│ the app$/m);
    const { tasks } = await json("show", run);
    expect(tasks[1]).toMatchObject({
      ...{ stage: "explore", name: "approval", status: "succeeded" },
      gate: { decision: "approved", decidedBy: "token:admin", comment: "fine", binding, artifacts: [{ name: "app" }] },
    });
  });

  it("that is rejected fails the run with the reason, and skips what needs it", async () => {
    const { run, result } = await atTheGate("{ title: Look at it }");
    const without = await farm.cli(["reject", run, "explore"]);
    expect(without.status).toBe(2);
    expect((await farm.cli(["reject", run, "explore", "--comment", "wrong colour"])).status).toBe(0);
    const { status, stdout } = await result;
    expect(status).toBe(1);
    expect(stdout).toMatch(/^explore\/approval +failed .*was rejected by token:admin: wrong colour$/m);
    expect(stdout).toMatch(/^publish\/upload +skipped/m);
  });

  it("is refused to who is no approver, and comes to its stated outcome when its time is up", async () => {
    const { run, result } = await atTheGate("{ title: Look at it, approvers: [qa], timeout: 3s, on_timeout: approve }");
    const refused = await farm.cli(["approve", run, "explore"]);
    expect(refused.stderr).toContain("token:admin may not decide explore");
    const { status, stdout } = await result;
    expect(status).toBe(0);
    expect(stdout).toMatch(/^explore\/approval +.*approved by its time-out: nobody decided within 3s$/m);
  });

  it("times out also when the coordinator was killed while it waited", async () => {
    const { run, result } = await atTheGate("{ title: Look at it, timeout: 4s }");
    const record: { pid: number } = JSON.parse(readFileSync(join(farm.dataDir, "pids/coordinator.json"), "utf8"));
    process.kill(record.pid, "SIGKILL");
    const { status, stdout } = await result;
    expect(status).toBe(1);
    expect(stdout).toMatch(/^explore\/approval +failed .*timed out: nobody decided within 4s$/m);
    const { tasks } = await json("show", run);
    expect(tasks[1].gate).toMatchObject({ decision: "rejected", timedOut: true, decidedBy: "system:runs" });
  });
});
