import { expect, test } from "vitest";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { deployed, host, id, killed, probedFor } from "./host.ts";

test.each(["killed", "frozen"] as const)(
  "an agent that a %s NATS cuts off in mid-deploy goes back when its own lease runs out, and says so when it can",
  async (how) => {
    const it = await host({ hostOperationLeaseMs: 1_500 });
    const { nats } = it.farm;
    await it.agent();
    await deployed(it, "exe_1", it.release("one"));
    expect((await it.farm.assign(id, "exe_2", probedFor(it.release("two", "bad"), 60_000))).accepted).toBe(true);
    await it.farm.until(() => it.farm.log("exe_2").text.includes("probe: 503"));
    if (how === "killed") await nats.kill();
    else nats.freeze();
    // Logs go another way than heartbeats, so we can watch.
    await it.farm.until(() => it.farm.log("exe_2").text.includes("app in local is back at"));
    expect(it.farm.log("exe_2").text).toContain("failed: the agent had no word of the farm for");
    expect(await it.served()).toBe("one");
    expect(it.processes()).toHaveLength(1);
    expect(it.farm.reports.map(({ executionId }) => executionId)).toEqual(["exe_1"]);
    if (how === "killed") await nats.restart();
    else nats.thaw();
    const report = await it.farm.report("exe_2");
    expect(report.ending).toMatchObject({
      kind: EndingKind.DEPLOYMENT_FAILED,
      detail: expect.stringContaining("no word of the farm"),
    });
    expect(report.deployment).toMatchObject({ wentBack: true, healthy: true });
  },
);

test("a deployment that takes longer than the lease goes on as long as the farm answers", async () => {
  const it = await host({ hostOperationLeaseMs: 2_500 }); // a busy machine may stand still for one
  await it.agent();
  const slow = it.release("one");
  const command = slow.command.map((part) => part.replace(/^node /, "sleep 4; exec node "));
  const report = await deployed(it, "exe_1", { ...slow, command });
  expect(report.ending).toMatchObject({ kind: EndingKind.EXITED, exitCode: 0 });
  expect(await it.served()).toBe("one");
});

test("a deployment that comes late is refused by its epoch, also after the agent's restart, and changes nothing", async () => {
  const it = await host();
  const first = await it.agent();
  const { farm } = it;
  const deploy = async (name: string, version: string, epoch: number) => {
    expect((await farm.assign(id, name, it.release(version), epoch)).accepted).toBe(true);
    return await farm.report(name);
  };
  expect((await deploy("exe_1", "one", 5)).ending?.kind).toBe(EndingKind.EXITED);
  expect((await deploy("exe_3", "three", 7)).ending?.kind).toBe(EndingKind.EXITED);
  const late = await deploy("exe_2", "two", 6);
  expect(late.ending).toMatchObject({
    kind: EndingKind.INFRASTRUCTURE,
    detail: expect.stringContaining("exe_2 has the epoch 1.6, and on this host 1.7 of app in local was begun already"),
  });
  expect(late.deployment).toBeUndefined();
  expect(await it.served()).toBe("three");
  await killed(first.child);
  await it.agent();
  expect((await deploy("exe_4", "two", 6)).ending?.kind).toBe(EndingKind.INFRASTRUCTURE);
  expect(await it.served()).toBe("three");
  expect((await deploy("exe_5", "five", 8)).ending?.kind).toBe(EndingKind.EXITED);
  expect(await it.served()).toBe("five");
});
