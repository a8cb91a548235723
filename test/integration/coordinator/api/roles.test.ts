import type { DescService } from "@bufbuild/protobuf";
import { type CallOptions, Code, ConnectError, createClient } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { accessOf } from "../../../../coordinator/api/access.ts";
import { openTokens, tokenSchema } from "../../../../coordinator/delivery/access/tokens.ts";
import { Role } from "../../../../proto/gen/millrace/v1/admin_pb.ts";
import { ShellService } from "../../../../proto/gen/millrace/v1/shell_pb.ts";
import { openSqlite } from "../../../../shared/sqlite/open.ts";
import { type Clients, startTestCoordinator } from "../../../support/coordinator.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { submitText } from "../../../support/runs.ts";
import { declaredServices } from "../../../support/services.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const codeOf = (call: Promise<unknown>): Promise<Code | undefined> =>
  call.then(
    () => undefined,
    (error: unknown) => ConnectError.from(error).code,
  );

const waiting = "name: p\nstages: { look: { manual: { title: Look at it } } }\n";

/** Each method once, with nothing in its request. */
async function callAll({ transport }: Clients, services: readonly DescService[]) {
  const codes = new Map<string, Code | undefined>();
  const signal = AbortSignal.timeout(10_000);
  for (const service of services) {
    const client = createClient(service, transport) as Record<string, Call>;
    for (const method of service.methods) {
      const call = client[method.localName];
      if (call === undefined) continue;
      const isSent = method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
      async function* one() {
        yield {};
      }
      const answer = call(isSent ? one() : {}, { signal });
      const code = await codeOf(Symbol.asyncIterator in answer ? drained(answer) : answer);
      codes.set(`${service.typeName}/${method.name}`, code);
    }
  }
  return codes;
}

type Call = (input: unknown, options: CallOptions) => Promise<unknown> | (AsyncIterable<unknown> & Promise<unknown>);

async function drained(answers: AsyncIterable<unknown>): Promise<void> {
  for await (const answer of answers) expect(answer).toBeDefined();
}

test("a viewer is refused by every method that changes something, and by none that looks", async () => {
  const coordinator = await startTestCoordinator();
  const { secret } = await coordinator.as("admin").admin.createToken({ role: Role.VIEWER, user: "vera" });
  const mounted = declaredServices.filter(({ typeName }) => !/\.(health|reflection)\./.test(typeName));
  const codes = await callAll(coordinator.withToken(secret), mounted);
  const looking = new Set(["know", "read", "fetch"]);
  const passed: string[] = [];
  for (const method of mounted.flatMap(({ methods }) => methods)) {
    const name = `${method.parent.typeName}/${method.name}`;
    if (codes.get(name) === Code.Unimplemented) continue; // of a part that another program serves
    const isLooking = looking.has(accessOf(method).right ?? "know");
    if (isLooking) expect(codes.get(name), name).not.toBe(Code.PermissionDenied);
    else if (codes.get(name) !== Code.PermissionDenied) passed.push(name);
  }
  expect(passed).toEqual([]);
  expect([...codes.values()].filter((code) => code === Code.PermissionDenied).length).toBeGreaterThan(15);
});

test("who is bound to a project neither sees nor touches what another one has", async () => {
  const coordinator = await startTestCoordinator();
  const admin = coordinator.as("admin");
  for (const name of ["mine", "yours"]) await admin.projects.setProject({ project: { name } });
  const token = async (role: Role, projects: string[]) =>
    coordinator.withToken((await admin.admin.createToken({ role, user: "anna", projects })).secret);
  const anna = await token(Role.ADMIN, ["mine"]);
  const yours = await submitText(admin, waiting, { project: "yours" });
  const mine = await submitText(anna, waiting, { project: "mine" });

  const { runs, logs, flow, projects, agents, pools } = anna;
  const read = async (call: AsyncIterable<unknown>) => codeOf(drained(call));
  expect(await codeOf(runs.getRun({ run: yours }))).toBe(Code.PermissionDenied);
  expect(await read(runs.watchRun({ run: yours }))).toBe(Code.PermissionDenied);
  expect(await read(logs.readLog({ run: yours }))).toBe(Code.PermissionDenied);
  expect(await read(runs.downloadArtifact({ run: yours, artifact: "app" }))).toBe(Code.PermissionDenied);
  async function* openShell() {
    yield { kind: { case: "start" as const, value: { run: yours, task: "look" } } };
  }
  const shells = createClient(ShellService, anna.transport);
  expect(await read(shells.openShell(openShell()))).toBe(Code.PermissionDenied);
  const refused = [
    runs.cancelRun({ run: yours }),
    runs.decideGate({ run: yours, stage: "look" }),
    runs.pinRun({ run: yours }),
    runs.listQueuePlaces({ run: yours }),
    flow.getFlow({ run: yours }),
    runs.listRuns({ project: "yours" }),
    projects.getProject({ name: "yours" }),
    projects.setProject({ project: { name: "mine" }, etag: "1" }),
    submitText(anna, waiting, { project: "yours" }),
    submitText(anna, waiting),
    agents.removeAgent({ id: "a" }),
    pools.scalePool({ name: "linux" }),
    anna.admin.listTokens({}),
  ];
  expect(new Set(await Promise.all(refused.map(codeOf)))).toEqual(new Set([Code.PermissionDenied]));
  expect((await runs.listRuns({})).runs.map(({ name }) => name)).toEqual([mine]);
  expect((await admin.runs.listRuns({})).runs.map(({ name }) => name)).toEqual([mine, yours]);
  expect((await runs.listRuns({ project: "mine" })).runs.map(({ name }) => name)).toEqual([mine]);
  expect((await admin.runs.listRuns({ project: "yours" })).runs.map(({ name }) => name)).toEqual([yours]);
  expect((await projects.listProjects({})).projects.map(({ project }) => project?.name)).toEqual(["mine"]);
  expect((await flow.getFlow({})).flow).toMatchObject({ value: { run: mine } });
  expect(await codeOf(runs.getRun({ run: "run_99" }))).toBe(Code.NotFound);

  await runs.cancelRun({ run: mine });
  await admin.runs.cancelRun({ run: yours });
  const both = await token(Role.VIEWER, ["mine", "yours"]);
  expect((await both.runs.listRuns({ pageSize: 1 })).runs.map(({ name }) => name)).toEqual([mine]);
  expect((await both.runs.getRun({ run: yours })).run?.name).toBe(yours);
  expect(await codeOf((await token(Role.VIEWER, ["mine"])).runs.getRun({ run: yours }))).toBe(Code.PermissionDenied);
});

test("what is followed ends for a token that is revoked meanwhile, before anything more is told", async () => {
  const coordinator = await startTestCoordinator();
  const admin = coordinator.as("admin");
  const run = await submitText(admin, waiting);
  const { secret } = await admin.admin.createToken({ role: Role.VIEWER, name: "gone" });
  const seen: (string | undefined)[] = [];
  const isWaiting = Promise.withResolvers<void>();
  const following = (async () => {
    for await (const { event } of coordinator.withToken(secret).runs.watchRun({ run })) {
      seen.push(event?.kind.case);
      if (event?.kind.case === "gateOpened") isWaiting.resolve();
    }
  })();
  await Promise.race([isWaiting.promise, following]);
  await admin.admin.revokeToken({ name: "gone" });
  await admin.runs.commentRun({ run, text: "not for everybody" });
  expect(await codeOf(following)).toBe(Code.Unauthenticated);
  expect(seen).not.toContain("runCommented");
});

test("a person is one, by whichever token; and no word is a person and a token, or a role", async () => {
  const coordinator = await startTestCoordinator();
  const { admin } = coordinator.as("admin");
  const first = await admin.createToken({ role: Role.DEVELOPER, user: "anna" });
  const second = await admin.createToken({ role: Role.APPROVER, user: "anna", name: "phone" });
  for (const { secret } of [first, second]) {
    expect((await coordinator.withToken(secret).admin.describeCoordinator({})).principal).toBe("user:anna");
  }
  await admin.createToken({ role: Role.DEVELOPER, name: "bot" });
  expect(await codeOf(admin.createToken({ role: Role.DEVELOPER, user: "bot" }))).toBe(Code.AlreadyExists);
  expect(await codeOf(admin.createToken({ role: Role.DEVELOPER, name: "anna" }))).toBe(Code.AlreadyExists);
  expect(await codeOf(admin.createToken({ role: Role.DEVELOPER, user: "approver" }))).toBe(Code.InvalidArgument);
  expect(await codeOf(admin.createToken({ role: Role.DEVELOPER, user: "../x" }))).toBe(Code.InvalidArgument);
  expect(await codeOf(admin.createToken({ role: Role.DEVELOPER, projects: ["shop"] }))).toBe(Code.NotFound);
  expect(await codeOf(admin.createToken({ role: Role.AGENT, user: "anna" }))).toBe(Code.InvalidArgument);
  const shown = (await admin.listTokens({})).tokens.find(({ name }) => name === "phone");
  expect(shown).toMatchObject({ role: Role.APPROVER, user: "anna", projects: [] });
});

test("tokens from before there were persons and projects go on, and those from after outlive a restart", async () => {
  const dir = tempDir();
  const clock = fakeClock();
  const open = async (schema = tokenSchema) => {
    const sqlite = await openSqlite({ path: `${dir}/t.db`, schema: [schema] });
    return { sqlite, open: () => openTokens({ sqlite, dir: `${dir}/tokens`, clock }) };
  };
  const old = await open({ ...tokenSchema, migrations: tokenSchema.migrations.slice(0, 3) });
  const { secretHash } = await import("../../../../shared/rpc/secret.ts");
  await old.sqlite.write([
    { sql: "INSERT INTO token (sha256, name, role) VALUES (?, 'anna', 'developer')", params: [secretHash("mr_old")] },
  ]);
  await old.sqlite.close();

  const now = await open();
  const tokens = await now.open();
  expect(tokens.authenticate("mr_old")).toEqual({ name: "token:anna", role: "developer", projects: undefined });
  const wanted = { role: "viewer", name: undefined, user: "berta", projects: ["shop"], ttlMs: undefined } as const;
  const { secret } = await tokens.create(wanted);
  const expected = { name: "user:berta", role: "viewer", projects: ["shop"] };
  expect(tokens.authenticate(secret)).toEqual(expected);
  await now.sqlite.close();
  const later = await open();
  expect((await later.open()).authenticate(secret)).toEqual(expected);
  await later.sqlite.close();
});
