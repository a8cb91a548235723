import { Ajv } from "ajv";
import { expect, it } from "vitest";
import { startTestCoordinator } from "../../../support/coordinator.ts";

it("the JSON Schema of pipeline files is served to everybody, and is one", async () => {
  const { http } = await startTestCoordinator();
  const answer = await fetch(`${http}/schema/pipeline.json`);
  expect(answer.status).toBe(200);
  expect(answer.headers.get("content-type")).toBe("application/schema+json");
  expect(answer.headers.get("access-control-allow-origin")).toBe("*");
  const validate = new Ajv({ allowUnionTypes: true }).compile((await answer.json()) as object);
  expect(validate({ name: "a", stages: { b: { tasks: { c: { run: "make" } } } } })).toBe(true);
  expect(validate({ name: "a", stages: { b: { tasks: { c: { runs: "make" } } } } })).toBe(false);
  expect((await fetch(`${http}/schema/pipeline.json`, { method: "POST" })).status).toBe(405);
});
