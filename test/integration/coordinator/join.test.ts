import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { expect, onTestFinished, test, vi } from "vitest";
import { Role } from "../../../proto/gen/millrace/v1/admin_pb.ts";
import { AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { connectNatsBus } from "../../../shared/bus/nats-bus.ts";
import { inboxOf } from "../../../shared/bus/subjects.ts";
import { digestOf } from "../../../shared/digest.ts";
import { type ErrorCode, from } from "../../../shared/errors.ts";
import { type BusAgent, busAgent } from "../../support/bus-agent.ts";
import { type Clients, startTestCoordinator } from "../../support/coordinator.ts";
import { enrol, type NewKeys, newKeys } from "../../support/enrol.ts";
import { startManagedNats } from "../../support/nats-server.ts";
import { submitText, work } from "../../support/runs.ts";
import { tempDir } from "../../support/temp-dir.ts";

const pipeline = "name: p\nstages: { s: { tasks: { t: { run: echo hi } } } }\n";

async function failureOf(call: Promise<unknown>): Promise<{ code: ErrorCode | "none"; message: string }> {
  return call.then(
    () => ({ code: "none" as const, message: "it went well" }),
    (error: unknown) => from(error),
  );
}

/** A farm whose nats-server is told its agents by the coordinator. */
async function setup() {
  const nats = await startManagedNats();
  const coordinator = await startTestCoordinator(tempDir(), { nats });
  const connect = async (id: string, { seed }: NewKeys) => {
    const login = { seed: () => seed, inbox: inboxOf(id) };
    const bus = await connectNatsBus({ servers: [nats.url], name: id, onError: () => undefined, ...login });
    onTestFinished(() => bus.close());
    return bus;
  };
  return {
    ...coordinator,
    nats,
    connect,
    /** Lets an agent in and has it join; its own keys are all it uses. */
    async letIn(id: string, pool = "default"): Promise<{ agent: BusAgent; machine: Clients; keys: NewKeys }> {
      const token = await coordinator.enrolmentToken({ pool });
      const keys = await enrol(coordinator.withToken(token).agents, { id });
      const machine = coordinator.withToken(keys.secret);
      const agent = await busAgent(await connect(id, keys), { id, labels: { pool: "as-it-says" } });
      expect(await machine.agents.joinFarm({ agent: agent.info })).toMatchObject({ natsUser: "", natsPassword: "" });
      agent.heartbeat();
      return { agent, machine, keys };
    },
  };
}

test("a token lets one agent in, once, into its pool; with its own keys the agent does all that an agent does", async () => {
  const farm = await setup();
  const { admin, agents } = farm.as("admin");
  const before = Date.now();
  const { agent, machine } = await farm.letIn("a", "linux");
  const [shown] = (await agents.listAgents({})).agents;
  expect(shown?.info?.labels).toEqual({ pool: "linux" });
  expect(shown?.enrolTime && timestampMs(shown.enrolTime)).toBeGreaterThanOrEqual(before);
  const { tokens } = await admin.listTokens({});
  expect(tokens.filter(({ usedBy }) => usedBy === "a")).toMatchObject([{ pool: "linux", role: Role.AGENT }]);

  const person = farm.as("admin");
  const run = await submitText(person, pipeline);
  await work(agent, machine, await agent.nextAssign(), "hi\n");
  for await (const _ of person.runs.watchRun({ run })); // to its end
  expect((await person.runs.getRun({ run })).run?.tasks).toMatchObject([{ agent: "a", attempts: 1 }]);

  const token = await farm.enrolmentToken();
  const { agents: newcomer } = farm.withToken(token);
  await enrol(newcomer, { id: "b" });
  expect(await failureOf(enrol(newcomer, { id: "c" }))).toMatchObject({
    code: "permission_denied",
    message: expect.stringMatching(/has let in the agent "b".*token create/),
  });
  // Whoever only wants to come in can do nothing else.
  expect((await failureOf(farm.withToken(await farm.enrolmentToken()).runs.listRuns({}))).code).toBe(
    "permission_denied",
  );
  const whole = farm.withToken(await farm.enrolmentToken()).cas.findMissing([digestOf(Buffer.from("x"))]);
  expect((await failureOf(whole)).code).toBe("permission_denied");
});

test("of twenty agents that race with one token, one is let in", async () => {
  const farm = await setup();
  const { agents } = farm.withToken(await farm.enrolmentToken());
  const racing = Array.from({ length: 20 }, (_, index) => ({ id: `a${index}`, keys: newKeys() }));
  const answers = await Promise.allSettled(racing.map((agent) => enrol(agents, agent)));
  const winners = racing.filter((_, index) => answers[index]?.status === "fulfilled");
  expect(winners).toHaveLength(1);
  for (const { id, keys } of racing) {
    const isIn = await failureOf(
      farm
        .withToken(keys.secret)
        .admin.describeCoordinator({})
        .then(() => "in"),
    );
    const bus = await farm.connect(id, keys).then(
      () => "in",
      (error: unknown) => from(error).code,
    );
    const won = winners.some((winner) => winner.id === id);
    expect([isIn.code, bus]).toEqual(won ? ["none", "in"] : ["unauthenticated", "unauthenticated"]);
  }
});

test("an agent joins as itself alone, and writes no log of another", async () => {
  const farm = await setup();
  const [a, b] = [await farm.letIn("a"), await farm.letIn("b")];
  expect(await failureOf(a.machine.agents.joinFarm({ agent: b.agent.info }))).toMatchObject({
    code: "permission_denied",
  });
  const run = await submitText(farm.as("admin"), pipeline);
  const { given, other } = await Promise.race([
    a.agent.nextAssign().then((assign) => ({ given: { ...a, assign }, other: b })),
    b.agent.nextAssign().then((assign) => ({ given: { ...b, assign }, other: a })),
  ]);
  const forging = work(other.agent, other.machine, given.assign, "forged\n");
  expect(await failureOf(forging)).toMatchObject({ code: "permission_denied" });
  await work(given.agent, given.machine, given.assign, "true\n");
  let text = "";
  for await (const { data } of farm.as("admin").logs.readLog({ run, follow: true }))
    text += Buffer.from(data).toString();
  expect(text).toBe("true\n");
});

test("an agent that is removed is refused at once and everywhere, and comes back with a new token alone", async () => {
  const farm = await setup();
  const { agents } = farm.as("admin");
  const { machine, keys } = await farm.letIn("a");
  const bus = await farm.connect("a", keys);
  const states: boolean[] = [];
  bus.watchConnection((up) => states.push(up));
  await agents.removeAgent({ id: "a" });
  expect(await failureOf(machine.cas.findMissing([digestOf(Buffer.from("x"))]))).toMatchObject({
    code: "unauthenticated",
    message: expect.stringMatching(/"a" was removed from this farm at .*token create --role agent/),
  });
  await vi.waitFor(() => expect(states).toEqual([true, false]), { timeout: 10_000 });
  await expect(farm.connect("a", keys)).rejects.toMatchObject({ code: "unauthenticated" });
  expect((await agents.listAgents({})).agents).toEqual([]);
  expect((await failureOf(agents.removeAgent({ id: "a" }))).code).toBe("not_found");
  await farm.letIn("a");
});

test("an id that is taken is refused with the way out; one that never joined is listed and can be removed", async () => {
  const farm = await setup();
  await enrol(farm.withToken(await farm.enrolmentToken({ pool: "linux" })).agents, { id: "a" });
  const { agents } = farm.as("admin");
  expect((await agents.listAgents({})).agents).toMatchObject([
    { info: { id: "a", hostname: "test", labels: { pool: "linux" } }, state: AgentState.ENROLLED, slotsUsed: 0 },
  ]);
  const token = await farm.enrolmentToken();
  expect(await failureOf(enrol(farm.withToken(token).agents, { id: "a" }))).toMatchObject({
    code: "already_exists",
    message: expect.stringMatching(/enrolled from test at .*--name.*millrace agents remove a/),
  });
  await agents.removeAgent({ id: "a" });
  expect((await agents.listAgents({})).agents).toEqual([]);
  await enrol(farm.withToken(token).agents, { id: "a" }); // it was not used up
});

test("the farm's own token gives an id anew whose agent has lost its keys, but not while it is there", async () => {
  const farm = await setup();
  const own = farm.withToken(farm.tokenOf("agent"));
  const first = await enrol(own.agents, { id: "a" });
  const second = await enrol(own.agents, { id: "a" });
  expect((await failureOf(farm.withToken(first.secret).admin.describeCoordinator({}))).code).toBe("unauthenticated");
  const agent = await busAgent(await farm.connect("a", second), { id: "a" });
  await farm.withToken(second.secret).agents.joinFarm({ agent: agent.info });
  agent.heartbeat();
  const { agents } = farm.as("admin");
  await vi.waitFor(async () => expect((await agents.listAgents({})).agents[0]?.lastHeartbeatTime).toBeDefined());
  expect((await failureOf(enrol(own.agents, { id: "a" }))).code).toBe("already_exists");
});

test("what is not well made lets nobody in", async () => {
  const farm = await setup();
  const { admin } = farm.as("admin");
  const { agents } = farm.withToken(await farm.enrolmentToken());
  const good = { id: "a", hostname: "h", natsPublicKey: newKeys().publicKey, secretSha256: new Uint8Array(32) };
  for (const wrong of [
    { id: "a b" },
    { natsPublicKey: "U" },
    { natsPublicKey: `${good.natsPublicKey.slice(0, -3)}AAA` },
    { secretSha256: new Uint8Array(31) },
  ]) {
    expect((await failureOf(agents.enrolAgent({ ...good, ...wrong }))).code).toBe("invalid_argument");
  }
  const agentRole = { role: Role.AGENT };
  expect((await failureOf(admin.createToken({ ...agentRole, pool: "a b" }))).code).toBe("invalid_argument");
  expect((await failureOf(admin.createToken({ role: Role.ADMIN, pool: "p" }))).code).toBe("invalid_argument");
  expect((await failureOf(admin.createToken({ role: Role.ADMIN, ephemeral: true }))).code).toBe("invalid_argument");
  const { secret, token } = await admin.createToken({ ...agentRole, name: "short", ttl: durationFromMs(60_000) });
  expect(token).toMatchObject({ pool: "default", usedBy: "", ephemeral: false });
  for (const role of [Role.AGENT, Role.DEVELOPER]) {
    expect((await failureOf(admin.createToken({ role, name: "short" }))).code).toBe("already_exists");
  }
  await admin.revokeToken({ name: "short" });
  expect((await failureOf(enrol(farm.withToken(secret).agents, { id: "a" }))).code).toBe("unauthenticated");
});

test("who was let in is still in when the coordinator has started again, and a second process hears who took over", async () => {
  const nats = await startManagedNats();
  const data = tempDir();
  const first = await startTestCoordinator(data, { nats });
  const keys = await enrol(first.withToken(await first.enrolmentToken()).agents, { id: "a" });
  const agent = { id: "a", slots: 1, version: "0.1.0", hostname: "one" };
  await first.withToken(keys.secret).agents.joinFarm({ agent: { ...agent, session: "s1" } });
  await first.withToken(keys.secret).agents.joinFarm({ agent: { ...agent, session: "s2", hostname: "two" } });
  await first.stop();

  const next = await startTestCoordinator(data, { nats });
  const machine = next.withToken(keys.secret);
  expect(await failureOf(machine.agents.joinFarm({ agent: { ...agent, session: "s1" } }))).toMatchObject({
    code: "already_exists",
    message: expect.stringMatching(/took over as the agent "a": on two, since 20/),
  });
  await machine.agents.joinFarm({ agent: { ...agent, session: "s2", hostname: "two" } });
  await machine.agents.joinFarm({ agent: { ...agent, session: "s3", hostname: "two" } });
  const login = { seed: () => keys.seed, inbox: inboxOf("a") };
  const bus = await connectNatsBus({ servers: [nats.url], name: "a", onError: () => undefined, ...login });
  await bus.close();
});
