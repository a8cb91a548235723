import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { expect, onTestFinished, test, vi } from "vitest";
import { RunActor } from "../../../coordinator/delivery/run/run-actor.ts";
import { TaskDriver, type TaskDriverDeps } from "../../../coordinator/delivery/run/task-driver.ts";
import type { ExecutionUpdate, Scheduler } from "../../../coordinator/farm/scheduler/scheduler.ts";
import { eventStoreSchema, sqliteEventStore } from "../../../coordinator/store/sqlite-event-store.ts";
import { ActionSchema, CommandSchema } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  EndingKind,
  EndingSchema,
  PlannedTaskSchema,
  ProjectQuotasSchema,
  RunStatus,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import { memoryCas } from "../../../shared/cas/memory-cas.ts";
import { digestOf, digestToMessage } from "../../../shared/digest.ts";
import { openSqlite } from "../../../shared/sqlite/open.ts";
import { textBlob } from "../../support/blobs.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { tempDir } from "../../support/temp-dir.ts";

const origin = { principal: "system:runs", project: "default", traceparent: "", nowMs: 1_000 };
const executionId = "run_1.s.t";

/** A run whose one task was submitted, as a start of the coordinator finds it; reads of the CAS wait for `open`. */
async function submittedTask() {
  const sqlite = await openSqlite({ path: join(tempDir(), "events.db"), schema: [eventStoreSchema] });
  onTestFinished(() => sqlite.close());
  const cas = memoryCas();
  const command = toBinary(CommandSchema, create(CommandSchema, { arguments: ["true"] }));
  const commandDigest = digestOf(command);
  const action = toBinary(ActionSchema, create(ActionSchema, { commandDigest: digestToMessage(commandDigest) }));
  const actionDigest = digestOf(action);
  await cas.writeMany([
    { digest: commandDigest, data: command },
    { digest: actionDigest, data: action },
  ]);
  const gate = Promise.withResolvers<void>();
  let reads = 0;
  const slow: Cas = {
    ...cas,
    async *read(...args) {
      await gate.promise;
      yield* cas.read(...args);
      reads += 1;
    },
  };
  let react: TaskDriver["react"] = () => {};
  const store = sqliteEventStore({ sqlite });
  const actor = new RunActor("run_1", {
    store,
    onEvents: (own, events) => {
      for (const event of events) react(own, event);
    },
  });
  const tasks = [create(PlannedTaskSchema, { stage: "s", name: "t" })];
  const source = digestToMessage(textBlob("source").digest);
  const request = { pipeline: "p", pipelinePath: "millrace.yaml", source, idempotencyKey: "", tasks };
  await actor.do({ kind: "request", ...request }, origin);
  const submit = { kind: "submit", task: "s/t", actionDigest: digestToMessage(actionDigest), executionId } as const;
  await actor.do(submit, origin);
  const onReact = (to: TaskDriver["react"]) => {
    react = to;
  };
  return { actor, cas: slow, open: gate.resolve, reads: () => reads, onReact };
}

test("a task whose report is accepted while its Action is still being read back is not executed once more", async () => {
  const { actor, cas, open, reads, onReact } = await submittedTask();
  const submitted: string[] = [];
  const forgotten: string[] = [];
  let tell: (update: ExecutionUpdate) => void = () => {};
  const scheduler: Scheduler = {
    async submit({ id }) {
      submitted.push(id);
    },
    cancel() {},
    async forget(id) {
      forgotten.push(id);
    },
    subscribe(listener) {
      tell = listener;
      return () => {};
    },
    stats: () => ({ queued: 0, running: 0, heldBy: new Map(), strays: new Map(), concluded: [] }),
  };
  const driver = new TaskDriver({
    ...{ cas, scheduler, clock: fakeClock(), origin: () => origin },
    secrets: { missing: () => [], subscribe: () => () => undefined },
    quotasOf: () => create(ProjectQuotasSchema),
    onError: (error: unknown) => expect.unreachable(String(error)),
  } as unknown as TaskDriverDeps);
  onReact((own, event) => driver.react(own, event));
  driver.start();
  driver.resume(actor);
  const ending = create(EndingSchema, { kind: EndingKind.EXITED });
  tell({ kind: "finished", id: executionId, outcome: { ending, attempt: 1, agent: "a" } });
  await vi.waitFor(() => expect(forgotten).toEqual([executionId]));
  expect(actor.state.status).toBe(RunStatus.SUCCEEDED);
  open();
  await vi.waitFor(() => expect(reads()).toBe(2));
  await new Promise((resolve) => setImmediate(resolve)); // what follows the last read has followed
  expect(submitted).toEqual([]);
  await driver.stop();
});
