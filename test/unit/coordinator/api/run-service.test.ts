import { create } from "@bufbuild/protobuf";
import { createClient, createRouterTransport } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { type RunServiceDeps, runService } from "../../../../coordinator/api/grpc/run-service.ts";
import { guarded } from "../../../../coordinator/api/guard.ts";
import { EventSchema } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { RunService } from "../../../../proto/gen/millrace/v1/run_pb.ts";

test("an execution that is shared with a run of another project does not tell its name to who is bound to this one", async () => {
  const started = (executionId: string) =>
    create(EventSchema, { kind: { case: "taskStarted", value: { task: "s/t", attempt: 1, agent: "a", executionId } } });
  const events = [started("run_7.secret-stage.secret-task"), started("run_12.s.t"), started("run_1.s.t"), started("")];
  const runs: Partial<RunServiceDeps["runs"]> = {
    async *watch() {
      for (const [index, event] of events.entries()) yield { sequence: index + 1, event };
    },
  };
  const seenBy = async (projects: readonly string[] | undefined) => {
    const impl = guarded(RunService, runService({ runs } as RunServiceDeps), {
      authenticate: () => ({ name: "user:anna", role: "viewer", projects }),
      belongings: { projectOfRun: async () => "mine", projectOfEnvironment: async () => undefined },
      audit: { record: async () => undefined },
      observer: { ended: () => undefined },
    });
    const transport = createRouterTransport(({ service }) => service(RunService, impl));
    const headers = { authorization: "Bearer mr_x" };
    const seen: unknown[] = [];
    for await (const { event } of createClient(RunService, transport).watchRun({ run: "run_1" }, { headers })) {
      if (event?.kind.case === "taskStarted") seen.push([event.kind.value.agent, event.kind.value.executionId]);
    }
    return seen;
  };
  expect(await seenBy(["mine"])).toEqual([
    ["a", ""],
    ["a", ""],
    ["a", "run_1.s.t"],
    ["a", ""],
  ]);
  expect(await seenBy(undefined)).toEqual(
    events.map(({ kind }) => ["a", kind.case === "taskStarted" && kind.value.executionId]),
  );
});
