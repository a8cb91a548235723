import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { expect, onTestFinished, test } from "vitest";
import type { Attempts } from "../../../agent/session/attempts.ts";
import { session } from "../../../agent/session/session.ts";
import { AgentInfoSchema, JoinFarmResponseSchema } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import type { Bus } from "../../../shared/bus/bus.ts";
import { inProcessBus } from "../../../shared/bus/in-process-bus.ts";
import { limits } from "../../../shared/limits.ts";
import { fakeClock } from "../../support/fake-clock.ts";

interface Answer {
  readonly hostOperationLease?: ReturnType<typeof durationFromMs>;
}

/** An agent of a coordinator which answers no heartbeat, and how often its host operations were ended. */
function agentOf(answer: Answer, connectBus?: () => Promise<Bus>) {
  const clock = fakeClock();
  const broker = inProcessBus(clock);
  let ends = 0;
  const attempts: Attempts = {
    assign: () => expect.unreachable("nothing is assigned"),
    resume: () => {},
    cancel: () => expect.unreachable("nothing is cancelled"),
    held: () => [],
    drain: () => {},
    pause: () => {},
    draining: () => false,
    stopAll: () => {},
    becomeEphemeral: () => {},
    endAtMostOnce: () => {},
    endOperations: () => {
      ends += 1;
    },
    idle: async () => {},
  };
  const subject = session({
    info: create(AgentInfoSchema, { id: "a", session: "s", slots: 1 }),
    coordinator: { joinFarm: async () => create(JoinFarmResponseSchema, { natsServers: ["here"], ...answer }) },
    connectBus: connectBus ?? (async () => broker.connect()),
    attempts,
    onOffer: () => expect.unreachable("nothing is offered"),
    disk: () => ({ folder: "/", sizeBytes: 2, freeBytes: 1 }),
    clock,
    onReachable: () => {},
    onError: (error) => expect.unreachable(error.message),
    onExpelled: (error) => expect.unreachable(error.message),
  });
  return { clock, subject, ends: () => ends };
}

/** The same when it has joined. */
async function joined(answer: Answer) {
  const { subject, ...rest } = agentOf(answer);
  await subject.start();
  onTestFinished(() => subject.stop());
  return rest;
}

test("an agent that is told to end while it joins leaves no bus open behind it", async () => {
  const connecting = Promise.withResolvers<void>();
  const connected = Promise.withResolvers<Bus>();
  let isClosed = false;
  const bus = inProcessBus(fakeClock()).connect();
  const { subject } = agentOf({}, () => {
    connecting.resolve();
    return connected.promise;
  });
  const starting = subject.start();
  await connecting.promise;
  const stopping = subject.stop();
  connected.resolve({
    ...bus,
    async close() {
      isClosed = true;
      await bus.close();
    },
  });
  await Promise.all([starting, stopping]);
  expect(isClosed).toBe(true);
});

test("an agent whose heartbeats get no answer ends its host operations after the lease that it was told", async () => {
  const { clock, ends } = await joined({ hostOperationLease: durationFromMs(5_000) });
  clock.advance(4_999);
  expect(ends()).toBe(0);
  clock.advance(1);
  expect(ends()).toBe(1);
});

test("a coordinator that names no such lease is one that answers no heartbeats: nothing ends for its silence", async () => {
  const { clock, ends } = await joined({});
  clock.advance(10 * limits.hostOperationLeaseMs);
  expect(ends()).toBe(0);
});
