import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { NamedCachesSchema } from "../../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { inProcessBus } from "../../../../shared/bus/in-process-bus.ts";
import { execution, startSchedulerFarm } from "../../../support/scheduler-farm.ts";
import { tempDir } from "../../../support/temp-dir.ts";

test("the named caches of an execution reach the agent, also after a restart of the coordinator", async () => {
  const [dir, broker] = [tempDir(), inProcessBus()];
  const namedCaches = create(NamedCachesSchema, { project: "shop", caches: [{ name: "npm", path: ".npm" }] });
  const before = await startSchedulerFarm({ dir, broker });
  await before.scheduler.submit(execution("with", { namedCaches }));
  await before.scheduler.submit(execution("without"));
  await before.stop();
  const after = await startSchedulerFarm({ dir, broker });
  const agent = await after.agent({ id: "first", slots: 2 });
  const assigned = [await agent.nextAssign(), await agent.nextAssign()];
  const said = new Map(assigned.map((assign) => [assign.executionId, assign.namedCaches]));
  expect(said.get("with")).toEqual(namedCaches);
  expect(said.get("without")).toBeUndefined();
});
