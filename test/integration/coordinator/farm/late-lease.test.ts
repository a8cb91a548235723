import { expect, test } from "vitest";
import type { ExecutionTable } from "../../../../coordinator/farm/scheduler/execution-table.ts";
import { MillraceError } from "../../../../shared/errors.ts";
import { limits } from "../../../../shared/limits.ts";
import { execution, startSchedulerFarm } from "../../../support/scheduler-farm.ts";

// The disk refuses one write, and takes it later.
test("a lease that could not be taken back at once does not take back the next one", async () => {
  let failures = 0;
  let load: ExecutionTable["load"] = async () => [];
  const decorate = (table: ExecutionTable): ExecutionTable => {
    load = table.load;
    return {
      ...table,
      async lease(ids, attempts, lease) {
        if (lease === undefined && failures++ === 0) throw new MillraceError("resource_exhausted", "no room");
        await table.lease(ids, attempts, lease);
      },
    };
  };
  const { scheduler, clock, agent, next } = await startSchedulerFarm({ decorate, onError: () => undefined });
  const a = await agent({ id: "a" });
  await scheduler.submit(execution("x"));
  await a.nextAssign();
  await next("x", "started");
  const b = await agent({ id: "b" });
  a.goodbye();
  await b.nextAssign();
  await next("x", "started");
  expect(failures).toBe(1);
  for (let ms = 0; ms < limits.retryMaxMs; ms += limits.heartbeatIntervalMs) {
    clock.advance(limits.heartbeatIntervalMs);
    b.heartbeat();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await load()).toMatchObject([{ attempts: 2, lease: { agentId: "b" } }]);
});
