import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { authenticator } from "../../../coordinator/api/authenticate.ts";
import { openTokens, tokenSchema } from "../../../coordinator/delivery/access/tokens.ts";
import { enrolmentSchema, openEnrolments } from "../../../coordinator/farm/agents/sqlite-enrolments.ts";
import { Role } from "../../../proto/gen/millrace/v1/admin_pb.ts";
import { AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { from } from "../../../shared/errors.ts";
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

test("whoever has a token that has expired hears so, and when, and how to get another one; a guess hears nothing", async () => {
  const [dir, clock] = [tempDir(), fakeClock()];
  const sqlite = await openSqlite({ path: `${dir}/t.db`, schema: [tokenSchema, enrolmentSchema] });
  const tokens = await openTokens({ sqlite, dir: `${dir}/tokens`, clock });
  const { enrolments, tokens: enrolmentTokens } = await openEnrolments({ sqlite, clock });
  const authenticate = authenticator({ tokens, enrolmentTokens });
  const wanted = { role: "developer", name: "phone", user: "anna", projects: ["shop", "lib"], ttlMs: 1_000 } as const;
  const person = (await tokens.create(wanted)).secret;
  const bot = (await tokens.create({ role: "viewer", name: "bot", ttlMs: 1_000 })).secret;
  const machine = (await enrolments.create({ pool: "p", ttlMs: 1_000, ephemeral: false, name: "rack" })).secret;
  clock.advance(1_000);
  const when = new Date(clock.nowMs()).toISOString();
  const messageOf = (secret: string) => {
    try {
      return authenticate(secret).name;
    } catch (error) {
      expect(from(error).code).toBe("unauthenticated");
      return from(error).message;
    }
  };
  expect(messageOf(person)).toBe(
    `the token "phone" of anna expired at ${when}; an admin makes another one with ` +
      "`millrace token create --role developer --user anna --project shop --project lib`",
  );
  expect(messageOf(bot)).toBe(
    `the token "bot" expired at ${when}; an admin makes another one with \`millrace token create --role viewer\``,
  );
  const guess = `${person.slice(0, -1)}${person.endsWith("A") ? "B" : "A"}`;
  for (const wrong of [guess, "", "phone", person.slice(0, 8), `${person} `]) {
    expect(messageOf(wrong)).toBe("the token is not known here");
  }
  const agent = { id: "a", hostname: "h", publicKey: "k", secretSha256: "0".repeat(64) };
  expect(messageOf(machine)).toBe("token:rack"); // what is wrong with it is said where it is used
  await expect(enrolments.enrol(agent, { kind: "once", token: "rack" })).rejects.toMatchObject({
    code: "unauthenticated",
    message:
      `the enrolment token rack expired at ${when}; an admin makes another one with ` +
      "`millrace token create --role agent`",
  });
  expect(messageOf(`${machine}x`)).toBe("the token is not known here");
  await tokens.revoke("phone");
  expect(messageOf(person)).toBe("the token is not known here");
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
