import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { RunActor } from "../../../../../coordinator/delivery/run/run-actor.ts";
import type { Origin } from "../../../../../coordinator/delivery/run/run-command.ts";
import { type EventStore, emptyStream } from "../../../../../coordinator/store/event-store.ts";
import { PlannedTaskSchema, TaskStatus } from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { digestToMessage, emptyDigest } from "../../../../../shared/digest.ts";

const origin: Origin = { principal: "token:t", project: "p", traceparent: "", nowMs: 1_000 };

test("a watcher who comes while the end of the run is being written is told the end", async () => {
  const disk = Promise.withResolvers<void>();
  const stored: number[] = [];
  const store: Pick<EventStore, "append"> = {
    async append(_stream, _expected, { events }) {
      if (stored.length > 0) await disk.promise;
      stored.push(events.length);
      return emptyStream;
    },
  };
  const actor = new RunActor("run_1", { store: store as EventStore, onEvents: () => undefined });
  await actor.do(
    {
      ...{ kind: "request", pipeline: "p", pipelinePath: "", idempotencyKey: "" },
      ...{ source: digestToMessage(emptyDigest), tasks: [create(PlannedTaskSchema, { stage: "s", name: "t" })] },
    },
    origin,
  );
  const done = actor.do({ kind: "finish", task: "s/t", outcome: { status: TaskStatus.SUCCEEDED } }, origin);
  const watched = (async () => {
    const kinds: (string | undefined)[] = [];
    for await (const { event } of actor.watch(0, new AbortController().signal)) kinds.push(event.kind.case);
    return kinds;
  })();
  expect(actor.finished).toBe(false);
  disk.resolve();
  await done;
  expect(await watched).toEqual(["runRequested", "runPlanned", "taskWaiting", "taskFinished", "runFinished"]);
});
