import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { type PlannedTask, PlannedTaskSchema } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { digestKey, emptyDigest } from "../../../../shared/digest.ts";
import { actionFor } from "../../../../shared/pipeline/action.ts";

const task = (secrets: readonly { secret: string; env: string; file?: boolean }[] = []): PlannedTask =>
  create(PlannedTaskSchema, { secrets: [...secrets] });
const keyOf = (planned: PlannedTask, project = "default") =>
  digestKey(actionFor(planned, emptyDigest, { project, cacheZone: "" }).digest);
const token = { secret: "token", env: "TOKEN" };

test("which secrets a task uses, and as what, is part of the key of its Action", () => {
  const keys = [
    task(),
    task([token]),
    task([{ ...token, secret: "other" }]),
    task([{ ...token, env: "OTHER" }]),
    task([{ ...token, file: true }]),
  ].map((planned) => keyOf(planned));
  expect(new Set(keys).size).toBe(keys.length);
});

test("what the secrets of one project gave is no result for another; without secrets the project makes no difference", () => {
  expect(keyOf(task([token]), "shop")).not.toBe(keyOf(task([token]), "farm"));
  expect(keyOf(task(), "shop")).toBe(keyOf(task(), "farm"));
});

test("the order in which they are written makes no difference", () => {
  const other = { secret: "a", env: "A" };
  expect(keyOf(task([token, other]))).toBe(keyOf(task([other, token])));
});
