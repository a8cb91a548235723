import { create, type DescMethod, type Message, toJsonString } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { accessOf, isListed } from "../../../../coordinator/api/access.ts";
import { admit, requireRight } from "../../../../coordinator/api/admission.ts";
import { firstMessage } from "../../../../coordinator/api/first-message.ts";
import type { Principal, Role } from "../../../../coordinator/delivery/access/principal.ts";
import { hasRight, type Right, rolesWith } from "../../../../coordinator/delivery/access/rights.ts";
import { from } from "../../../../shared/errors.ts";
import { guessing } from "../../../support/every-call.ts";
import { declaredMethods, declaredServices } from "../../../support/services.ts";
import { sourceFiles } from "../../../support/source-files.ts";

const methods = declaredMethods;
const nameOf = ({ parent, name }: DescMethod) => `${parent.typeName}/${name}`;
const roles = ["viewer", "developer", "approver", "operator", "admin", "agent", "enrolment"] as const;
const looking: readonly (Right | undefined)[] = [undefined, "know", "read", "fetch"];

test("the services are those that the protocols declare", () => {
  const declared = sourceFiles()
    .filter(({ path }) => path.endsWith(".proto"))
    .flatMap(({ text }) => {
      const name = /^package ([\w.]+);/m.exec(text)?.[1];
      return [...text.matchAll(/^service (\w+)/gm)].map((match) => `${name}.${match[1]}`);
    });
  expect(declaredServices.map(({ typeName }) => typeName).toSorted()).toEqual(declared.toSorted());
});

test("somebody has thought about every method of every service", () => {
  expect(methods.length).toBeGreaterThan(40);
  expect(methods.filter((method) => !isListed(method)).map(nameOf)).toEqual([]);
});

test("what changes something needs more than a viewer has, and is recorded unless machines do it all the time", () => {
  const changing = methods.filter((method) => !looking.includes(accessOf(method).right));
  expect(changing.filter((method) => hasRight("viewer", accessOf(method).right ?? "read")).map(nameOf)).toEqual([]);
  const unrecorded = changing.filter((method) => !accessOf(method).audited).map(nameOf);
  expect(unrecorded.toSorted()).toEqual([
    "build.bazel.remote.execution.v2.ActionCache/UpdateActionResult",
    "build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs",
    "google.bytestream.ByteStream/QueryWriteStatus",
    "google.bytestream.ByteStream/Write",
    "millrace.v1.AdminService/ListTokens",
    "millrace.v1.AgentService/FetchProgram",
    "millrace.v1.AgentService/JoinFarm",
    "millrace.v1.AuditService/ListAuditRecords",
    "millrace.v1.AuditService/VerifyAudit",
    "millrace.v1.LogService/AppendLog",
    "millrace.v1.SecretService/ListSecrets",
    "millrace.v1.ShellService/ServeShell",
  ]);
});

test.each([
  ["submit", ["developer", "admin"]],
  ["handle", ["developer", "operator", "admin"]],
  ["comment", ["developer", "approver", "operator", "admin"]],
  ["decide", ["developer", "approver", "admin"]],
  ["steer", ["operator", "admin"]],
  ["operate", ["operator", "admin"]],
  ["administer", ["admin"]],
  ["store", ["developer", "admin", "agent"]],
  ["share", ["developer", "admin"]],
  ["read", ["viewer", "developer", "approver", "operator", "admin"]],
  ["fetch", ["viewer", "developer", "approver", "operator", "admin", "agent"]],
  ["execute", ["agent"]],
  ["enrol", ["enrolment"]],
] satisfies [Right, Role[]][])("to %s is for %j", (right, expected) => {
  expect(rolesWith(right)).toEqual(expected);
});

test("whoever is bound to projects reaches nothing of another one, whatever he calls", async () => {
  const belongings = {
    projectOfRun: async (run: string) => (run === "" ? undefined : run.slice("run_of_".length)),
    projectOfEnvironment: async (environment: string) => (environment === "" ? undefined : environment),
  };
  const project = fc.constantFrom("a", "b", "c");
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...roles),
      fc.option(fc.uniqueArray(project, { minLength: 1 })),
      fc.constantFrom(...methods),
      project,
      async (role, bound, method, subject) => {
        const access = accessOf(method);
        if (access.right === undefined) return;
        const principal: Principal = { name: "user:x", role, projects: bound ?? undefined };
        const asked = { principal, access, method: method.name };
        const request = requestAbout(method, subject);
        const about = access.subjectOf(request);
        const outcome = await (async () => {
          requireRight(asked, access.right ?? "know");
          return await admit(asked, request, belongings);
        })().then(
          () => "passed",
          (error: unknown) => from(error).code,
        );
        const isBound = bound !== null;
        const isForeign = about.kind === "farm" || (about.kind !== "any" && !bound?.includes(subject));
        const refused = !hasRight(role, access.right) || (isBound && isForeign);
        expect(outcome).toBe(refused ? "permission_denied" : "passed");
      },
    ),
    { numRuns: 2_000 },
  );
});

/** A request in which everything that can name a thing of a project does. */
function requestAbout(method: DescMethod, project: string): Message {
  return guessing(method.input, { run: `run_of_${project}`, project, environment: project, name: project });
}

test("whatever a request can name of a project, it is looked at", () => {
  const guesses = { run: "run_of_a", project: "named", environment: "placed" };
  const naming = methods.filter(({ input }) =>
    /run_of_a|named|placed/.test(toJsonString(input, guessing(input, guesses))),
  );
  expect(naming.length).toBeGreaterThan(25);
  const overlooked = naming.filter((method) => accessOf(method).subjectOf(requestAbout(method, "a")).kind === "any");
  expect(overlooked.map(nameOf)).toEqual([]);
});

test("a run that is not there is not found by who is bound to projects, and a missing project is the default one", async () => {
  const belongings = { projectOfRun: async () => undefined, projectOfEnvironment: async () => undefined };
  const principal: Principal = { name: "user:x", role: "developer", projects: ["a"] };
  const call = (name: string, request: object) => {
    const method = methods.find((one) => one.name === name);
    if (method === undefined) return expect.unreachable(name);
    return admit(
      { principal, access: accessOf(method), method: name },
      create(method.input, { ...request }),
      belongings,
    );
  };
  await expect(call("CancelRun", { run: "run_9" })).rejects.toMatchObject({ code: "not_found" });
  await expect(call("GetEnvironment", { environment: "x" })).rejects.toMatchObject({ code: "not_found" });
  await expect(call("SubmitRun", {})).rejects.toMatchObject({ code: "permission_denied" });
});

test("an operator sets pools, but not what the coordinator's own user executes", async () => {
  const method = methods.find(({ name }) => name === "SetPool");
  if (method === undefined) return expect.unreachable();
  const asked = {
    principal: { name: "user:x", role: "operator" as const },
    access: accessOf(method),
    method: "SetPool",
  };
  const belongings = { projectOfRun: async () => undefined, projectOfEnvironment: async () => undefined };
  const set = (provider: Record<string, unknown>) =>
    admit(asked, create(method.input, { settings: { name: "p", provider } }), belongings);
  expect(await set({ case: "localProcess", value: {} })).toBe("");
  await expect(set({ case: "exec", value: { command: ["/bin/sh"] } })).rejects.toMatchObject({
    code: "permission_denied",
    message: expect.stringContaining("needs admin"),
  });
});

test("a stream is the same after its first message was looked at, and who leaves it leaves the source", async () => {
  let left = 0;
  async function* source(count: number) {
    try {
      for (let n = 1; n <= count; n += 1) yield n;
    } finally {
      left += 1;
    }
  }
  const { first, all } = await firstMessage(source(3));
  expect(first).toBe(1);
  const seen: unknown[] = [];
  for await (const message of all) seen.push(message);
  expect(seen).toEqual([1, 2, 3]);
  expect((await firstMessage(source(0))).first).toBeUndefined();
  for await (const message of (await firstMessage(source(3))).all) if (message === 2) break;
  expect(left).toBe(3);
});
