import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { openTokens, tokenSchema } from "../../../coordinator/delivery/access/tokens.ts";
import { Role } from "../../../proto/gen/millrace/v1/admin_pb.ts";
import { AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { openSqlite } from "../../../shared/sqlite/open.ts";
import { busAgent } from "../../support/bus-agent.ts";
import { startTestCoordinator } from "../../support/coordinator.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { tempDir } from "../../support/temp-dir.ts";

const codeOf = (call: Promise<unknown>): Promise<Code | undefined> =>
  call.then(
    () => undefined,
    (error: unknown) => ConnectError.from(error).code,
  );

test("an admin gives a token and takes it back; it does what its role may, and nothing once it is revoked", async () => {
  const coordinator = await startTestCoordinator();
  const { admin } = coordinator.as("admin");
  const made = await admin.createToken({ role: Role.DEVELOPER, name: "anna", ttl: durationFromMs(60_000) });
  const anna = coordinator.withToken(made.secret);
  expect(await anna.admin.describeCoordinator({})).toMatchObject({ principal: "token:anna", role: Role.DEVELOPER });
  expect(await codeOf(anna.runs.listRuns({}))).toBeUndefined();
  for (const refused of [
    anna.admin.listTokens({}),
    anna.admin.createToken({ role: Role.ADMIN }),
    anna.agents.setAgentDraining({ id: "a", draining: true }),
    anna.agents.removeAgent({ id: "a" }),
  ]) {
    expect(await codeOf(refused)).toBe(Code.PermissionDenied);
  }
  expect(await codeOf(admin.createToken({ role: Role.AGENT, name: "anna" }))).toBe(Code.AlreadyExists);
  expect(await codeOf(admin.createToken({ role: Role.UNSPECIFIED }))).toBe(Code.InvalidArgument);
  const { tokens } = await admin.listTokens({});
  expect(tokens.map(({ name }) => name)).toEqual(["admin", "agent", "anna"]);
  expect(JSON.stringify(tokens.map(({ name, expireTime }) => [name, expireTime !== undefined]))).toContain(
    '["anna",true]',
  );

  await admin.revokeToken({ name: "anna" });
  expect(await codeOf(anna.runs.listRuns({}))).toBe(Code.Unauthenticated);
  expect(await codeOf(admin.revokeToken({ name: "anna" }))).toBe(Code.NotFound);
  expect(await codeOf(admin.revokeToken({ name: "admin" }))).toBe(Code.FailedPrecondition);
});

test("a token outlives a restart, is refused from its last moment on, and stands nowhere in clear", async () => {
  const dir = tempDir();
  const clock = fakeClock();
  const open = async () => {
    const sqlite = await openSqlite({ path: `${dir}/t.db`, schema: [tokenSchema] });
    return { sqlite, tokens: await openTokens({ sqlite, dir: `${dir}/tokens`, clock }) };
  };
  const before = await open();
  const { secret } = await before.tokens.create({ role: "developer", name: undefined, ttlMs: 1_000 });
  await before.sqlite.close();
  const { sqlite, tokens } = await open();
  expect(tokens.authenticate(secret)?.role).toBe("developer");
  expect(JSON.stringify(await sqlite.query("SELECT * FROM token"))).not.toContain(secret);
  clock.advance(999);
  expect(tokens.authenticate(secret)).toBeDefined();
  clock.advance(1);
  expect(tokens.authenticate(secret)).toBeUndefined();
  await sqlite.close();
});

test("an agent that drains keeps what it has, is given nothing new after a rejoin either, and can be resumed and removed", async () => {
  const coordinator = await startTestCoordinator();
  const { agents } = coordinator.as("admin");
  const machine = await coordinator.asAgent("a");
  const agent = await busAgent(await coordinator.connectBus(), { id: "a" });
  expect((await machine.agents.joinFarm({ agent: agent.info })).drain).toBe(false);
  agent.heartbeat();
  expect((await agents.setAgentDraining({ id: "a", draining: true })).agent?.state).toBe(AgentState.DRAINING);
  expect((await machine.agents.joinFarm({ agent: agent.info })).drain).toBe(true);
  expect((await agents.listAgents({})).agents[0]?.state).toBe(AgentState.DRAINING);
  await agents.setAgentDraining({ id: "a", draining: false });
  expect((await machine.agents.joinFarm({ agent: agent.info })).drain).toBe(false);
  expect(await codeOf(agents.setAgentDraining({ id: "b", draining: true }))).toBe(Code.NotFound);
  await agents.removeAgent({ id: "a" });
  expect((await agents.listAgents({})).agents).toEqual([]);
});
