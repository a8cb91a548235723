import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readCoordinatorConfig } from "../../../coordinator/config.ts";
import { limits } from "../../../shared/limits.ts";
import { tempDir } from "../../support/temp-dir.ts";

function read(flags: Record<string, string> = {}) {
  const natsCredentials = join(tempDir(), "nats.json");
  const user = { user: "u", password: "p" };
  writeFileSync(natsCredentials, JSON.stringify({ coordinator: user, agent: user }));
  return readCoordinatorConfig({ flags: { data: "/d", nats: "nats://h:1", natsCredentials, ...flags }, env: {} });
}

test("heartbeats and the lease of host operations follow the lease", async () => {
  expect((await read()).lease).toEqual({
    leaseMs: limits.leaseMs,
    heartbeatMs: limits.heartbeatIntervalMs,
    hostOperationLeaseMs: limits.hostOperationLeaseMs,
  });
  expect((await read({ lease: "2.5" })).lease).toEqual({
    leaseMs: 2_500,
    heartbeatMs: 500,
    hostOperationLeaseMs: 7_500,
  });
});

test.each([
  ["0.9", "below 1"],
  ["601", "above 600"],
  ["soon", "not a number"],
])("a lease of %s s is refused: %s", async (lease, why) => {
  await expect(read({ lease })).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringContaining(why),
  });
});
