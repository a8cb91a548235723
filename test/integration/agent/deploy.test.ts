import { readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { DeployStep } from "../../../agent/operations/deploy-state.ts";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { exitOf } from "../../support/exit-of.ts";
import { isLong } from "../../support/long.ts";
import { processesAbout } from "../../support/process-state.ts";
import { deployed, host, id, killed, probedFor } from "./host.ts";

test("a release is laid out read-only, started, probed and reported; the same bytes again move nothing", async () => {
  const it = await host();
  await it.agent();
  const first = await deployed(it, "exe_1", it.release("one"));
  expect(first.ending).toMatchObject({ kind: EndingKind.EXITED, exitCode: 0 });
  const { deployment } = first;
  expect(deployment).toMatchObject({ environment: "local", app: "app", healthy: true, wentBack: false });
  expect(deployment?.probeAnswer).toBe("200 OK");
  expect(first.result?.executionMetadata?.executionCompletedTimestamp).toBeDefined();
  expect(Number(deployment?.movedBytes)).toBeGreaterThan(0);
  expect(deployment?.current?.hash).toBe(it.current());
  expect(await it.served()).toBe("one");
  const release = join(it.data, "environments/local/app/current");
  expect(statSync(`${release}/`).mode & 0o222).toBe(0);
  expect(statSync(join(release, "lib/version.txt")).mode & 0o222).toBe(0);
  const [process] = it.processes();

  const second = await deployed(it, "exe_2", it.release("one"));
  expect(second.ending?.kind).toBe(EndingKind.EXITED);
  expect(Number(second.deployment?.movedBytes)).toBe(0);
  expect(it.farm.log("exe_2").text).toContain("it runs already; probe: 200 OK");
  expect(it.processes()).toEqual([process]);

  const log = it.farm.log("exe_1");
  expect(log.finished).toBe(true);
  const steps = [
    "release ",
    "it is here",
    "stopping",
    "current is now",
    "starting",
    "probing",
    "probe: 200 OK",
    "healthy",
  ];
  let from = 0;
  for (const step of steps) {
    expect(log.text.indexOf(step, from), step).toBeGreaterThanOrEqual(from);
    from = log.text.indexOf(step, from);
  }
});

test.each([
  ["bad", "503 Service Unavailable: no database"],
  ["crashing", "its process exited with 7"],
] as const)("a %s release goes back by itself, without moving a byte, and says why", async (health, why) => {
  const it = await host();
  await it.agent();
  const first = await deployed(it, "exe_1", it.release("one"));
  const bad = await deployed(it, "exe_2", it.release("two", health));
  expect(bad.ending?.kind).toBe(EndingKind.DEPLOYMENT_FAILED);
  expect(bad.ending?.detail).toContain(why);
  expect(bad.deployment).toMatchObject({ wentBack: true, healthy: true });
  expect(bad.deployment?.current).toEqual(first.deployment?.current);
  expect(it.current()).toBe(first.deployment?.current?.hash);
  expect(await it.served()).toBe("one");
  expect(it.processes()).toHaveLength(1);
});

test("a first release that fails leaves nothing behind", async () => {
  const it = await host();
  await it.agent();
  const report = await deployed(it, "exe_1", it.release("one", "bad"));
  expect(report.ending?.detail).toContain("no release is in place");
  expect(report.deployment).toMatchObject({ wentBack: true, healthy: false });
  expect(report.deployment?.current).toBeUndefined();
  expect(it.processes()).toEqual([]);
  expect(readdirSync(join(it.data, "environments/local/app"))).toEqual(["releases"]);
});

test("an agent that is killed at any step of a good deployment finishes it when it comes back", async () => {
  const it = await host();
  let agent = await it.mortalAgent();
  await deployed(it, "exe_0", it.release("zero"));
  const all: DeployStep[] = ["fetching", "stopping", "flipping", "starting", "probing", "succeeded"];
  for (const step of isLong ? all : (["flipping", "starting", "succeeded"] as const)) {
    it.dieAt(step);
    const exit = exitOf(agent);
    expect((await it.farm.assign(id, `exe_${step}`, it.release(step))).accepted).toBe(true);
    expect(await exit).toEqual([null, "SIGKILL"]);
    agent = await it.mortalAgent();
    const report = await it.farm.report(`exe_${step}`);
    expect(report.ending, step).toMatchObject({ kind: EndingKind.EXITED, exitCode: 0 });
    expect(await it.served()).toBe(step);
    expect(it.current()).toBe(report.deployment?.current?.hash);
    expect(it.processes(), step).toHaveLength(1);
    expect(it.farm.log(`exe_${step}`)).toMatchObject({ finished: true });
    expect(it.farm.log(`exe_${step}`).text).toMatch(/^release [^]*app in local is deployed\n$/);
  }
}, 120_000);

test("an agent that is killed at any step of going back goes back when it comes back", async () => {
  const it = await host();
  let agent = await it.mortalAgent();
  const good = await deployed(it, "exe_0", it.release("zero"));
  const all: DeployStep[] = ["probing", "back-stopping", "back-flipping", "back-starting", "back-probing", "failed"];
  for (const step of isLong ? all : (["probing", "back-flipping", "failed"] as const)) {
    it.dieAt(step);
    const exit = exitOf(agent);
    expect((await it.farm.assign(id, `exe_${step}`, probedFor(it.release(step, "bad"), 300))).accepted).toBe(true);
    expect(await exit).toEqual([null, "SIGKILL"]);
    agent = await it.mortalAgent();
    const report = await it.farm.report(`exe_${step}`);
    expect(report.ending?.kind, step).toBe(EndingKind.DEPLOYMENT_FAILED);
    expect(report.deployment).toMatchObject({ wentBack: true, healthy: true, current: good.deployment?.current });
    expect(await it.served(), step).toBe("zero");
    expect(it.processes(), step).toHaveLength(1);
  }
}, 120_000);

test("a deployment that is cancelled while it is probed goes back", async () => {
  const it = await host();
  await it.agent();
  await deployed(it, "exe_1", it.release("one"));
  await it.farm.assign(id, "exe_2", probedFor(it.release("two", "bad"), 60_000));
  await it.farm.until(() => it.farm.log("exe_2").text.includes("probe: 503"));
  expect(await it.farm.cancel(id, "exe_2", "not today")).toBe(true);
  const report = await it.farm.report("exe_2");
  expect(report.ending?.kind).toBe(EndingKind.CANCELLED);
  expect(report.ending?.detail).toContain("not today");
  expect(report.deployment).toMatchObject({ wentBack: true, healthy: true });
  expect(await it.served()).toBe("one");
});

test("a unit lives through its agent, is taken up by the next one, and is started again when it ends", async () => {
  const it = await host();
  const first = await it.agent();
  await deployed(it, "exe_1", it.release("one"));
  const [before] = processesAbout("serve-").filter(({ command }) => command.startsWith("node"));
  await killed(first.child);
  expect(await it.served()).toBe("one");
  await it.agent();
  const [after] = processesAbout("serve-").filter(({ command }) => command.startsWith("node"));
  expect(after).toEqual(before);
  process.kill(before?.pid ?? 0, "SIGKILL");
  await expect.poll(() => it.served().catch(() => ""), { timeout: 10_000 }).toBe("one");
});

test("a damaged release is brought again before it runs", async () => {
  const it = await host();
  await it.agent();
  await deployed(it, "exe_1", it.release("one"));
  await deployed(it, "exe_2", it.release("two"));
  const [damaged] = readdirSync(join(it.data, "environments/local/app/releases")).filter(
    (hash) => hash !== it.current(),
  );
  const file = join(it.data, "environments/local/app/releases", damaged ?? "", "lib/version.txt");
  rmSync(file, { force: true });
  writeFileSync(file, "changed by hand");
  await deployed(it, "exe_3", it.release("one"));
  expect(it.current()).toBe(damaged);
  expect(statSync(file).size).toBe("one".length);
  expect(await it.served()).toBe("one");
});
