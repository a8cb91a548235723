import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { Role } from "../../../../proto/gen/millrace/v1/admin_pb.ts";
import { poolLimits } from "../../../../shared/limits/pools.ts";
import { startTestCoordinator } from "../../../support/coordinator.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const codeOf = (call: Promise<unknown>): Promise<Code | undefined> =>
  call.then(
    () => undefined,
    (error: unknown) => ConnectError.from(error).code,
  );

test("an admin sets, scales and removes pools; people look at them; agents do neither", async () => {
  const coordinator = await startTestCoordinator();
  const { admin, pools } = coordinator.as("admin");
  const settings = { name: "linux", min: 0, max: 2, provider: { case: "localProcess", value: {} } } as const;
  const { secret } = await admin.createToken({ role: Role.DEVELOPER, name: "anna" });
  const anna = coordinator.withToken(secret).pools;
  expect(await codeOf(anna.setPool({ settings }))).toBe(Code.PermissionDenied);
  expect((await pools.setPool({ settings })).pool).toMatchObject({
    settings: {
      ...{ name: "linux", min: 0, max: 2, slots: 1, ephemeral: false, provider: { case: "localProcess" } },
      targetWait: durationFromMs(poolLimits.targetWaitMs),
      idleTimeout: durationFromMs(poolLimits.idleTimeoutMs),
      joinTimeout: durationFromMs(poolLimits.joinTimeoutMs),
    },
    ...{ wanted: 0, ready: 0, starting: 0, leaving: 0, queued: 0, running: 0, removing: false },
  });
  expect((await anna.listPools({})).pools.map((pool) => pool.settings?.name)).toEqual(["linux"]);
  expect((await anna.getPool({ name: "linux" })).pool?.settings?.max).toBe(2);
  expect(await codeOf(anna.getPool({ name: "mac" }))).toBe(Code.NotFound);
  expect((await pools.scalePool({ name: "linux", min: 0, max: 5 })).pool?.settings?.max).toBe(5);
  expect(await codeOf(pools.scalePool({ name: "linux", min: 6, max: 5 }))).toBe(Code.InvalidArgument);
  expect(await codeOf(anna.scalePool({ name: "linux", min: 0, max: 1 }))).toBe(Code.PermissionDenied);
  expect(await codeOf(anna.removePool({ name: "linux" }))).toBe(Code.PermissionDenied);
  expect(await codeOf((await coordinator.asAgent("a")).pools.listPools({}))).toBe(Code.PermissionDenied);
  expect(await codeOf(pools.removePool({ name: "linux" }))).toBeUndefined();
  expect(await codeOf(pools.removePool({ name: "mac" }))).toBe(Code.NotFound);
});

test("a pool without a provider, or with a command that cannot be executed, is refused with the reason", async () => {
  const { pools } = (await startTestCoordinator()).as("admin");
  await expect(pools.setPool({ settings: { name: "linux", max: 1 } })).rejects.toThrow(/needs a provider: static/);
  await expect(pools.setPool({})).rejects.toThrow(/a pool needs settings/);
  const command = [`${tempDir()}/nothing`];
  const provider = { case: "exec", value: { command } } as const;
  await expect(pools.setPool({ settings: { name: "linux", max: 1, provider } })).rejects.toThrow(
    /is no file on the coordinator's machine/,
  );
  expect((await pools.listPools({})).pools).toEqual([]);
});

test("settings outlive a restart, also of a pool whose command has gone since", async () => {
  const data = tempDir();
  const first = await startTestCoordinator(data);
  const command = join(tempDir(), "command");
  writeFileSync(command, "#!/bin/sh\n", { mode: 0o755 });
  const provider = { case: "exec" as const, value: { command: [command] } };
  const labels = { disk: "nvme" };
  await first.as("admin").pools.setPool({
    settings: { name: "cloud", max: 9, ephemeral: true, labels, idleTimeout: durationFromMs(7_000), provider },
  });
  const before = (await first.as("admin").pools.getPool({ name: "cloud" })).pool?.settings;
  await first.stop();
  rmSync(command);
  const second = await startTestCoordinator(data);
  expect((await second.as("admin").pools.getPool({ name: "cloud" })).pool?.settings).toEqual(before);
});
