import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import type { SealTo, SecretSealer } from "../../../../coordinator/farm/scheduler/secret-sealer.ts";
import {
  SealedSecretsSchema,
  type TaskSecrets,
  TaskSecretsSchema,
} from "../../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { inProcessBus } from "../../../../shared/bus/in-process-bus.ts";
import { execution, startSchedulerFarm } from "../../../support/scheduler-farm.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const secrets = create(TaskSecretsSchema, { project: "shop", secrets: [{ secret: "token", env: "TOKEN" }] });

/** Says what it was asked, and gives what the test says. */
function sealer(seal: (to: SealTo) => Awaited<ReturnType<SecretSealer["seal"]>>) {
  const asked: [TaskSecrets, SealTo][] = [];
  const port: SecretSealer = {
    async seal(which, to) {
      asked.push([which, to]);
      return seal(to);
    },
  };
  return { asked, port };
}

const sealedFor = ({ agentId, epoch }: SealTo) => ({
  kind: "sealed" as const,
  sealed: create(SealedSecretsSchema, { ciphertext: Buffer.from(`${agentId} ${epoch.term} ${epoch.number}`) }),
});

test("secrets are sealed when their execution is handed out, to that agent and epoch, also after a restart", async () => {
  const [dir, broker] = [tempDir(), inProcessBus()];
  const { asked, port } = sealer(sealedFor);
  const before = await startSchedulerFarm({ dir, broker, sealer: port });
  await before.scheduler.submit(execution("with", { secrets }));
  await before.scheduler.submit(execution("without"));
  await before.stop();
  expect(asked).toEqual([]);
  const after = await startSchedulerFarm({ dir, broker, sealer: port });
  const agent = await after.agent({ id: "first", slots: 2 });
  const assigned = [await agent.nextAssign(), await agent.nextAssign()];
  const said = new Map(assigned.map((assign) => [assign.executionId, assign]));
  const { epoch, sealedSecrets } = said.get("with") ?? {};
  expect(Buffer.from(sealedSecrets?.ciphertext ?? []).toString()).toBe(`first ${epoch?.term} ${epoch?.number}`);
  expect(said.get("without")?.sealedSecrets).toBeUndefined();
  expect(asked).toMatchObject([[secrets, { agentId: "first", executionId: "with" }]]);
});

test("an agent that can be given none is passed over for one that can", async () => {
  const { port } = sealer((to) => (to.agentId === "old" ? { kind: "unfit", why: "it has no key" } : sealedFor(to)));
  const farm = await startSchedulerFarm({ sealer: port });
  await farm.agent({ id: "old" });
  await farm.scheduler.submit(execution("with", { secrets }));
  const agent = await farm.agent({ id: "young" });
  expect((await agent.nextAssign()).executionId).toBe("with");
});

test("what nobody can be given ends at once, and no agent hears of it", async () => {
  const { port } = sealer(() => ({ kind: "impossible", why: "the secret token was removed" }));
  const farm = await startSchedulerFarm({ sealer: port });
  const agent = await farm.agent({ id: "first" });
  await farm.scheduler.submit(execution("with", { secrets }));
  const { outcome } = await farm.next("with", "finished");
  expect(outcome.ending).toMatchObject({ kind: EndingKind.REFUSED, detail: "the secret token was removed" });
  // Its slot is free.
  await farm.scheduler.submit(execution("without"));
  expect((await agent.nextAssign()).executionId).toBe("without");
});
