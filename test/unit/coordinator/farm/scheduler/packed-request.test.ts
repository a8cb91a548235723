import { create, toBinary } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { packed } from "../../../../../coordinator/farm/scheduler/packed-request.ts";
import type { ExecutionRequest } from "../../../../../coordinator/farm/scheduler/scheduler.ts";
import {
  ActionSchema,
  CommandSchema,
} from "../../../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  HostOperationSchema,
  NamedCachesSchema,
  SourceImportSchema,
  TaskSecretsSchema,
} from "../../../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { digestOf } from "../../../../../shared/digest.ts";

/** With everything that a request may say: a new field belongs here, or the compiler complains. */
const full: Required<ExecutionRequest> = {
  id: "run/work/task",
  actionDigest: digestOf(Buffer.from("action")),
  action: create(ActionSchema, { salt: Buffer.from([0, 127, 128, 255]) }),
  command: create(CommandSchema, { arguments: ["sh", "-c", "echo grün"] }),
  priority: 7,
  fairGroup: "run",
  volatileEnvironment: { MILLRACE_RUN: "run" },
  namedCaches: create(NamedCachesSchema, { caches: [{ name: "npm", path: ".npm" }] }),
  secrets: create(TaskSecretsSchema, { project: "shop", secrets: [{ secret: "token", env: "TOKEN" }] }),
  hostOperation: create(HostOperationSchema, {}),
  atMostOnce: true,
  avoidAgents: ["a"],
  attemptsMax: 2,
  sourceImport: create(SourceImportSchema, { url: "https://git.example.org/shop.git", ref: "main" }),
};

it("says while it waits all that was asked for", () => {
  const kept = packed(full);
  for (const name of Object.keys(full) as (keyof ExecutionRequest)[])
    expect([name, kept[name]]).toEqual([name, full[name]]);
});

it("gives Action and Command as the bytes that they were", () => {
  const { action, command } = packed(full).encoded();
  expect(new Uint8Array(action)).toEqual(toBinary(ActionSchema, full.action));
  expect(new Uint8Array(command)).toEqual(toBinary(CommandSchema, full.command));
});
