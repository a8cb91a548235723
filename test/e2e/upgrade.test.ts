import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from "vitest";
import { project, startFarm, type TestFarm } from "../support/farm.ts";
import { startNatsServer } from "../support/nats-server.ts";
import { buildMs, singleFile } from "../support/single-file.ts";

const dir = mkdtempSync(join(tmpdir(), "millrace-upgrade-"));
const prefix = join(dir, "agent");
let farm: TestFarm | undefined;
let old: string;
let next: string;
/** NATS stays when the coordinator goes, as an agent finds a new one at once then. */
let bus: string[];

beforeAll(() => {
  old = singleFile(join(dir, "old"), "0.1.0");
  next = singleFile(join(dir, "next"), "0.1.1");
}, buildMs);

afterAll(async () => {
  if (farm !== undefined) installer(farm, "--uninstall");
  await farm?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** The farm of this test with another coordinator; the agent is that which was installed. */
async function restart(program: string, ...args: string[]): Promise<TestFarm> {
  await farm?.stop();
  farm = await startFarm({ agents: 0, dir: join(dir, "farm"), program, flags: [...bus, ...args] });
  return farm;
}

function installer({ http }: TestFarm, ...args: string[]): string {
  const script = execFileSync("curl", ["-fsS", `${http}/install.sh`]);
  return execFileSync("sh", ["-s", "--", "--prefix", prefix, ...args], { input: script, encoding: "utf8" });
}

interface AgentJson {
  readonly state: string;
  readonly version: string;
  readonly failedUpgrade?: { readonly version: string; readonly sha256: string; readonly reason: string };
}

async function agent(of: TestFarm): Promise<AgentJson | undefined> {
  const { stdout } = await of.cli(["agents", "--json"]);
  return (JSON.parse(stdout) as { agents: AgentJson[] }).agents[0];
}

/** Until the one agent is like this. */
const until = (of: TestFarm, state: Partial<AgentJson>) =>
  vi.waitFor(async () => expect(await agent(of)).toMatchObject(state), { timeout: 40_000, interval: 200 });

const pipeline = (run: string) =>
  project({ "millrace.yaml": `name: p\nstages:\n  a:\n    tasks:\n      b: { run: "${run}", cache: false }\n` });

const sha256 = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex");
const installed = () => sha256(join(prefix, "bin/millrace"));
const pid = () => readFileSync(join(prefix, "data/lock.pid"), "utf8");

it("an agent goes back from a program that cannot join and says so, and takes one that can, without losing a task", async () => {
  const nats = await startNatsServer();
  const user = { user: nats.user, password: nats.password };
  const users = join(dir, "users.json");
  writeFileSync(users, JSON.stringify({ coordinator: user, agent: user }), { mode: 0o600 });
  bus = ["--nats", nats.url, "--nats-creds", users];

  let now = await restart(old);
  installer(now, "--token", readFileSync(join(now.dataDir, "coordinator/tokens/agent"), "utf8").trim());
  await until(now, { state: "online", version: "0.1.0" });
  const [oldSum, firstPid] = [installed(), pid()];
  expect(oldSum).toBe(sha256(old));

  // A program that says the right version, and no more.
  const broken = join(dir, "broken");
  mkdirSync(broken);
  const brokenFile = join(broken, "millrace-0.1.1-linux-x64");
  const says = '[ "$1" = --version ] && echo 0.1.1 && exit; echo "no such library" >&2; exit 7';
  writeFileSync(brokenFile, `#!/bin/sh\n${says}\n`);
  chmodSync(brokenFile, 0o755);

  const gate = await openGate();
  const held = now.startCli(["run", pipeline(`curl -fsS http://127.0.0.1:${gate.port}`), "--json"]);
  await gate.asked;
  held.process.kill("SIGKILL"); // the run goes on without its reader

  now = await restart(next, "--dist", broken);
  await until(now, { state: "draining", version: "0.1.0" });
  expect(installed()).toBe(oldSum);
  await gate.open();
  await until(now, { state: "online", version: "0.1.0", failedUpgrade: { ...failed(brokenFile) } });
  expect(installed()).toBe(oldSum);
  const { stdout } = await now.cli(["show", "run_1", "--json"]);
  expect(JSON.parse(stdout)).toMatchObject({ status: "succeeded" });
  expect((await now.run(pipeline("true"))).status).toBe("succeeded");
  expect((await now.cli(["agents"])).stderr).toContain("upgrading to 0.1.1 failed");
  expect(readFileSync(join(prefix, "agent.log"), "utf8").match(/trying version/g)).toHaveLength(1);

  // Another of the same version.
  now = await restart(next);
  await until(now, { state: "online", version: "0.1.1" });
  expect((await agent(now))?.failedUpgrade).toBeUndefined();
  expect(installed()).toBe(sha256(next));
  expect(sha256(join(prefix, "bin/millrace.previous"))).toBe(oldSum);
  expect(pid()).toBe(firstPid);
  expect((await now.run(pipeline("true"))).status).toBe("succeeded");
  expect(readFileSync(join(prefix, "agent.log"), "utf8").match(/trying version/g)).toHaveLength(2);
}, 180_000);

/** Something that a task can wait for. */
async function openGate() {
  const { promise: asked, resolve } = Promise.withResolvers<ServerResponse>();
  const server = createServer((_, response) => resolve(response)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  onTestFinished(() => void server.close());
  return { port, asked, open: async () => (await asked).end() };
}

function failed(file: string) {
  return { version: "0.1.1", sha256: sha256(file), reason: "it ended with exit code 7: no such library" };
}
