import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type CliResult, project, startFarm, type TestFarm } from "../support/farm.ts";
import { tempDir } from "../support/temp-dir.ts";

let farm: TestFarm;
const tokens = new Map<string, string>();

beforeAll(async () => {
  farm = await startFarm({ agents: 1 });
  const shop = ["project", "add", "shop", "--quota-running-tasks", "4", "--retention-runs", "100"];
  expect((await farm.cli(shop)).status).toBe(0);
  expect((await farm.cli(["project", "add", "other"])).status).toBe(0);
  await give("anna", "developer", "--user", "anna", "--project", "shop");
  await give("anna's second", "approver", "--user", "anna", "--project", "shop");
  for (const name of ["berta", "carl"]) await give(name, "approver", "--user", name, "--project", "shop");
  await give("carl's second", "approver", "--user", "carl");
  await give("mallory", "approver", "--user", "mallory");
  await give("vera", "viewer", "--user", "vera", "--project", "shop");
  await give("stranger", "developer", "--user", "sam", "--project", "other");
});
afterAll(() => farm.remove());

async function give(who: string, role: string, ...more: string[]): Promise<void> {
  const { stdout, stderr } = await farm.cli(["token", "create", "--role", role, ...more, "--json"]);
  if (stdout === "") throw new Error(stderr);
  tokens.set(who, (JSON.parse(stdout) as { token: string }).token);
}

const as = (who: string, ...args: string[]): Promise<CliResult> =>
  farm.cli([...args, "--address", farm.grpc, "--token", tokens.get(who) ?? expect.unreachable(who)]);

/** A pipeline whose gate asks for two of three people, evidence and a form; `app` is what is built. */
function shop(app: string): string {
  return project({
    "millrace.yaml": `name: shop
stages:
  build:
    tasks:
      bundle: { run: "mkdir -p dist && cp app.txt dist/", outputs: { app: dist/ } }
  explore:
    needs: [build]
    manual:
      title: Look at it
      checklist: [checkout works, refunds work]
      approvers: [anna, berta, carl]
      approvals: 2
      evidence: true
      fields: { ticket: { title: Ticket, required: true } }
  publish:
    needs: [explore]
    tasks:
      upload: { run: "cat app/app.txt", use: [app], inputs: [], cache: false }
`,
    "app.txt": app,
  });
}

interface Shown {
  readonly status: string;
  readonly tasks: readonly { readonly stage: string; readonly gate?: { readonly binding?: string } }[];
}

const shown = async (run: string): Promise<Shown> =>
  JSON.parse((await farm.cli(["show", run, "--json"])).stdout) as Shown;

/** Submits as anna; gives the run's name when its gate is open. */
async function atTheGate(dir: string): Promise<string> {
  const { stdout, stderr } = await as("anna", "run", dir, "--project", "shop", "--detach");
  if (stdout === "") throw new Error(stderr);
  const run = stdout.trim();
  await expect.poll(() => bindingOf(run), { timeout: 30_000, interval: 100 }).toMatch(/^[0-9a-f]{64}$/);
  return run;
}

const bindingOf = async (run: string) =>
  (await shown(run)).tasks.find(({ stage }) => stage === "explore")?.gate?.binding;
const ticket = ["--field", "ticket=T-17"];
const approve = (who: string, run: string, ...more: string[]) => as(who, "approve", run, "explore", ...ticket, ...more);

it("two of three approve: neither who asked for the run, nor an impersonator, nor one person twice, nor a viewer", async () => {
  const run = await atTheGate(shop("one\n"));
  expect((await approve("vera", run)).stderr).toContain("user:vera has the role viewer");
  expect((await approve("anna", run)).stderr).toContain("asked for run_1 and may not decide");
  expect((await approve("anna's second", run)).stderr).toContain("asked for run_1 and may not decide");
  expect((await approve("mallory", run)).stderr).toContain("user:mallory may not decide explore");
  const named = await farm.cli(["token", "create", "--role", "approver", "--name", "berta"]);
  expect(named.stderr).toContain("people could not tell the two apart");
  expect((await approve("stranger", run)).stderr).toContain("is not for this token");

  expect((await approve("berta", run)).stderr).toContain("evidence: there is none; add it with `millrace evidence");
  const picture = join(tempDir(), "checkout.png");
  writeFileSync(picture, "a picture\n");
  expect((await as("vera", "evidence", run, "explore", picture)).status).not.toBe(0);
  expect((await as("berta", "evidence", run, "explore", picture)).stdout).toMatch(/^checkout.png .*user:berta/m);
  const seen = tempDir();
  expect((await as("vera", "evidence", run, "explore", "--output", seen)).status).toBe(0);
  expect(readFileSync(join(seen, "checkout.png"), "utf8")).toBe("a picture\n");

  expect((await as("berta", "approve", run, "explore")).stderr).toContain(
    "ticket: has to be filled in, with text (Ticket)",
  );
  expect((await approve("berta", run, "--check", "1")).stdout).toContain("it takes 1 more of anna or berta or carl");
  const unticked = await approve("carl", run);
  expect(unticked.status).toBe(3);
  expect(unticked.stderr).toContain('not ticked is 2 "refunds work"; tick what you have looked at with --check 2,');
  expect((await as("berta", "approve", run, "explore", "--withdraw")).status).toBe(0);
  expect(await as("berta", "approve", run, "explore", "--withdraw")).toMatchObject({
    ...{ status: 2, stderr: expect.stringContaining("no approval of yours at explore") },
  });
  expect((await approve("berta", run, "--check-all", "--comment", "fine")).status).toBe(0);
  const { stdout } = await as("vera", "show", run);
  expect(stdout).toMatch(/\[x\] 2 refunds work +by user:berta/);
  expect(stdout).toMatch(/approved by user:berta.*: fine, ticket=T-17/);
  expect(stdout).toContain("it takes 1 more of");
  expect((await shown(run)).status).toBe("running");

  const decided = await approve("carl", run);
  expect(decided.stdout).toBe(`approved explore of ${run}\n`);
  expect((await approve("carl's second", run)).status).toBe(0); // the very same person and word: no news
  await expect.poll(async () => (await shown(run)).status, { timeout: 30_000 }).toBe("succeeded");
});

it("an older run is not approved after a newer one was, nor anything else than what was looked at", async () => {
  const old = await atTheGate(shop("two\n"));
  const young = await atTheGate(shop("three\n"));
  const lookedAt = (await bindingOf(old)) ?? "";
  const picture = join(tempDir(), "it.png");
  writeFileSync(picture, "it\n");
  for (const run of [old, young]) expect((await as("carl", "evidence", run, "explore", picture)).status).toBe(0);
  const changed = await approve("berta", young, "--binding", lookedAt);
  expect(changed.status).toBe(3);
  expect(changed.stderr).toMatch(
    /now binds .* and the decision is about .*: source, artifacts or the plan have changed/,
  );
  expect((await approve("berta", young, "--check", "1")).status).toBe(0);
  expect((await approve("carl", young, "--check", "2")).status).toBe(0);
  const late = await approve("berta", old);
  expect(late.status).toBe(3);
  expect(late.stderr).toMatch(new RegExp(`explore of ${old} is superseded: ${young} was approved at 20`));
  expect((await as("vera", "show", old)).stdout).toContain(`superseded: ${young} was approved at this stage`);
  expect((await as("berta", "reject", old, "explore", "--comment", "too late")).status).toBe(0);
});

it("a project is seen by its own people alone, and its settings are the farm's to say", async () => {
  expect((await as("stranger", "runs")).stderr).toContain("no runs yet");
  expect((await as("stranger", "logs", "1")).stderr).toContain("is not for this token");
  expect((await as("stranger", "run", shop("four\n"), "--project", "shop", "--detach")).status).toBe(3);
  expect((await as("anna", "runs", "--json")).stdout).toContain('"run_1"');
  expect((await as("anna", "project", "list", "--json")).stdout).not.toContain('"other"');
  expect((await as("anna", "project", "set", "shop", "--quota-running-tasks", "99")).status).toBe(3);
  expect((await farm.cli(["project", "show", "shop"])).stdout).toContain("tasks that run at one time: 4");
  const listed = await farm.cli(["runs", "--project", "shop", "-n", "1", "--json"]);
  expect(JSON.parse(listed.stdout)).toMatchObject({ runs: [{ project: "shop" }] });
  expect((await farm.cli(["runs", "--project", "other"])).stderr).toContain("no runs of other yet");
  expect(await farm.cli(["runs", "--project", "shpo"])).toMatchObject({
    ...{ status: 2, stderr: expect.stringContaining('there is no project "shpo" (did you mean "shop"?)') },
  });
  expect((await as("stranger", "runs", "--project", "shop")).stderr).toContain("is not for this token");
  const unset = await farm.cli([
    "project",
    "set",
    "shop",
    "--retention-runs",
    "",
    "--retention-log-age",
    "3d",
    "--json",
  ]);
  expect(JSON.parse(unset.stdout)).toMatchObject({
    retention: { runs: null, runAgeMs: null, logAgeMs: 259_200_000 },
    quotas: { runningTasks: 4 },
    updateTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
  });
  const unknown = await farm.cli(["run", shop("five\n"), "--project", "shpo", "--detach"]);
  expect(unknown.stderr).toContain('did you mean "shop"?');
  expect((await farm.cli(["project", "remove", "other"])).status).toBe(0);
});

it("who did what stands in the audit, also what was refused, and nothing in it was changed", async () => {
  const listed = await farm.cli(["audit", "--since", "1h", "--project", "shop", "--json", "--limit", "500"]);
  const records = listed.stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as { principal: string; method: string; target: string; outcome: string });
  const said = records.map(({ principal, method, target, outcome }) => {
    return `${principal} ${method.slice(method.indexOf("/") + 1)} ${target} ${outcome}`;
  });
  expect(said).toContain("user:anna SubmitRun run_1 ok");
  expect(said).toContain("user:anna DecideGate run_1 explore permission_denied");
  expect(said).toContain("user:vera DecideGate run_1 explore permission_denied");
  expect(said).toContain("user:carl DecideGate run_1 explore ok");
  for (const token of tokens.values()) expect(listed.stdout).not.toContain(token);
  expect((await as("vera", "audit")).status).toBe(3);
  const { status, stdout } = await farm.cli(["audit", "verify"]);
  expect(status).toBe(0);
  const [, head = ""] = /all as they were written; the last one is (\d+:[0-9a-f]{64})$/m.exec(stdout) ?? [];
  expect((await farm.cli(["audit", "verify", "--expect", head])).status).toBe(0);
  const forged = await farm.cli(["audit", "verify", "--expect", `${head.split(":")[0]}:${"0".repeat(64)}`]);
  expect(forged.status).toBe(1);
  expect(forged.stderr).toContain("is not as it was when its hash was noted");
});
