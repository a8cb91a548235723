import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { expect, onTestFinished, test, vi } from "vitest";
import type { BusUser } from "../../../../coordinator/farm/agents/bus-users.ts";
import { natsBusUsers } from "../../../../coordinator/farm/agents/nats-bus-users.ts";
import type { Bus } from "../../../../shared/bus/bus.ts";
import { type BusLogin, connectNatsBus } from "../../../../shared/bus/nats-bus.ts";
import { inboxOf, subjects } from "../../../../shared/bus/subjects.ts";
import { systemClock } from "../../../../shared/clock.ts";
import type { MillraceError } from "../../../../shared/errors.ts";
import { limits } from "../../../../shared/limits.ts";
import { madeUpPublicKeys, newKeys } from "../../../support/enrol.ts";
import { exitOf } from "../../../support/exit-of.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { startManagedNats } from "../../../support/nats-server.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const soon = { timeoutMs: 5_000 };

/** A nats-server, and who may connect to it. */
async function setup() {
  const nats = await startManagedNats();
  const connect = async (login: BusLogin, onError: (error: MillraceError) => void = () => undefined) => {
    const bus = await connectNatsBus({ servers: [nats.url], name: "test", onError, ...login });
    onTestFinished(() => bus.close());
    return bus;
  };
  const monitor = await connect(nats.managed.monitor);
  const errors: unknown[] = [];
  const open = async () => {
    const users = natsBusUsers({ nats: nats.managed, monitor, clock: systemClock, onError: (e) => errors.push(e) });
    await users.start?.();
    onTestFinished(async () => users.stop?.());
    return users;
  };
  const loads = async (): Promise<string> => {
    const answer = await monitor.request("$SYS.REQ.SERVER.PING.VARZ", new Uint8Array(), soon);
    return JSON.parse(new TextDecoder().decode(answer)).data.config_load_time;
  };
  return {
    nats,
    connect,
    monitor,
    users: await open(),
    open,
    errors,
    loads,
    coordinator: await connect(nats.managed.coordinator),
  };
}

/** An agent with keys of its own. */
function newAgent(id: string) {
  const { seed, publicKey } = newKeys();
  const user: BusUser = { agentId: id, publicKey };
  return { id, user, login: { seed: () => seed, inbox: inboxOf(id) } };
}

/** Resolves with the next thing that the server has against a party. */
function complaints() {
  const codes: string[] = [];
  return {
    note: (error: MillraceError) => void codes.push(`${error.code}: ${error.message}`),
    until: (pattern: RegExp) => vi.waitFor(() => expect(codes.join("\n")).toMatch(pattern), { timeout: 10_000 }),
  };
}

test("with its own keys an agent reaches what is its own, and the server refuses it everything of another", async () => {
  const { users, connect, coordinator } = await setup();
  const [a, b] = [newAgent("a"), newAgent("b")];
  await users.admit([a.user, b.user]);
  const refusals = complaints();
  const busA = await connect(a.login, refusals.note);
  const busB = await connect(b.login);

  const heard: string[] = [];
  for (const subject of [subjects.heartbeat("*"), subjects.report("*"), subjects.goodbye("*")]) {
    await coordinator.subscribe(subject, (message) => {
      heard.push(message.subject);
      message.reply(bytes("heard"));
    });
  }
  await busB.subscribe(subjects.assign("b"), (message) => message.reply(bytes("b has it")));
  await busA.subscribe(subjects.assign("a"), (message) => message.reply(bytes("a has it")));
  await busA.subscribe(subjects.rollCall, () => undefined);
  const assign = async (id: string) =>
    new TextDecoder().decode(await coordinator.request(subjects.assign(id), bytes("x"), soon));
  expect([await assign("a"), await assign("b")]).toEqual(["a has it", "b has it"]);
  await busA.request(subjects.report("a"), bytes("x"), soon);
  expect(heard).toEqual([subjects.report("a")]);

  for (const pattern of [
    ...[subjects.assign("b"), subjects.cancel("b"), subjects.rejoin("b"), subjects.drain("b"), `${inboxOf("b")}.>`],
    ...[subjects.assign("*"), subjects.report("*"), subjects.report("a"), "_INBOX.>", "millrace.>", ">", "$SYS.>"],
  ]) {
    await expect(
      busA.subscribe(pattern, () => undefined),
      pattern,
    ).rejects.toMatchObject({ code: "permission_denied" });
  }
  for (const subject of [subjects.report("b"), subjects.heartbeat("b"), subjects.assign("b"), subjects.cancel("a")]) {
    const forged = busA.request(subject, bytes("forged"), soon);
    await expect(forged, subject).rejects.toMatchObject({ code: "permission_denied" });
  }
  // What a published message would do is seen after one that arrives behind it.
  busA.publish(subjects.goodbye("b"), bytes("forged"));
  busA.publish(`${inboxOf("b")}.x`, bytes("forged"));
  await busA.request(subjects.report("a"), bytes("x"), soon);
  expect(heard).toEqual([subjects.report("a"), subjects.report("a")]);
  await refusals.until(/Publish to "millrace\.farm\.goodbye\.b"/);
  await refusals.until(/Publish to "millrace\.inbox\.b\.x"/);
});

test("a connection is closed when its agent is removed, and all the others stay", async () => {
  const { users, connect, coordinator } = await setup();
  const [a, b] = [newAgent("a"), newAgent("b")];
  await users.admit([a.user, b.user]);
  const words = complaints();
  const states: Record<string, boolean[]> = { a: [], b: [], coordinator: [] };
  (await connect(a.login, words.note)).watchConnection((up) => states.a?.push(up));
  (await connect(b.login)).watchConnection((up) => states.b?.push(up));
  coordinator.watchConnection((up) => states.coordinator?.push(up));
  await users.admit([b.user]);
  await vi.waitFor(() => expect(states.a).toEqual([true, false]), { timeout: 10_000 });
  await words.until(/unauthenticated: the bus does not let us in any more/);
  await expect(connect(a.login)).rejects.toMatchObject({ code: "unauthenticated" });
  expect(states).toMatchObject({ b: [true], coordinator: [true] });
});

test("five thousand agents are admitted while one of them works on, and a burst is read in two goes", async () => {
  const { users, connect, coordinator, loads } = await setup();
  const a = newAgent("a");
  await users.admit([a.user]);
  const bus = await connect(a.login);
  const states: boolean[] = [];
  bus.watchConnection((up) => states.push(up));
  await coordinator.subscribe(subjects.heartbeat("*"), (message) => message.reply(bytes("heard")));
  const many = madeUpPublicKeys(5_000).map((publicKey, index) => ({ agentId: `x${index}`, publicKey }));

  const seen = new Set([await loads()]);
  let isDone = false;
  // Each time one more, as when they enrol one after the other.
  const admitted = Promise.all(
    Array.from({ length: 50 }, (_, index) => users.admit([a.user, ...many.slice(0, 4_951 + index)])),
  ).finally(() => {
    isDone = true;
  });
  while (!isDone) {
    await bus.request(subjects.heartbeat("a"), bytes("x"), soon);
    seen.add(await loads());
  }
  await admitted;
  seen.add(await loads());
  expect(seen.size).toBeGreaterThan(1);
  expect(seen.size).toBeLessThanOrEqual(3);
  expect(states).toEqual([true]);
}, 60_000);

test("a server that starts again knows those who were admitted, also when that happened while it was away", async () => {
  const { nats, users, connect, coordinator, errors } = await setup();
  const [a, b] = [newAgent("a"), newAgent("b")];
  await users.admit([a.user]);
  const bus = await connect(a.login);
  const states: boolean[] = [];
  coordinator.watchConnection((up) => states.push(up));
  await nats.kill();
  await vi.waitFor(() => expect(states).toEqual([true, false]), { timeout: 10_000 });
  await users.admit([a.user, b.user]);
  await nats.restart();
  await vi.waitFor(() => expect(states).toEqual([true, false, true]), { timeout: 20_000 });
  await connect(b.login);
  await untilUp(bus);
  expect(errors).toEqual([]);
}, 60_000);

test("whoever had the number of the server's process before is left alone", async () => {
  const { nats, users } = await setup();
  const bystander = spawn("sleep", ["60"], { stdio: "ignore" });
  onTestFinished(async () => {
    bystander.kill("SIGKILL");
    await exitOf(bystander);
  });
  const own = readFileSync(nats.managed.pidFile, "utf8");
  writeFileSync(nats.managed.pidFile, String(bystander.pid));
  const refused = { code: "unavailable", message: expect.stringMatching(/names no nats-server/) };
  await expect(users.admit([])).rejects.toMatchObject(refused);
  writeFileSync(nats.managed.pidFile, own);
  await users.admit([]);
  expect([bystander.exitCode, bystander.signalCode]).toEqual([null, null]);
});

test("what could not be put in force is tried again until it is", async () => {
  const { nats, connect, monitor } = await setup();
  const clock = fakeClock();
  const users = natsBusUsers({ nats: nats.managed, monitor, clock, onError: () => undefined });
  await users.start?.();
  const a = newAgent("a");
  const own = readFileSync(nats.managed.pidFile, "utf8");
  writeFileSync(nats.managed.pidFile, "0");
  await expect(users.admit([a.user])).rejects.toMatchObject({ code: "unavailable" });
  await expect(connect(a.login)).rejects.toMatchObject({ code: "unauthenticated" });
  writeFileSync(nats.managed.pidFile, own);
  clock.advance(limits.retryMaxMs);
  await users.stop?.(); // waits for what is under way
  await connect(a.login);
});

function untilUp(bus: Bus): Promise<void> {
  return new Promise((resolve) => {
    bus.watchConnection((up) => {
      if (up) resolve();
    });
  });
}
