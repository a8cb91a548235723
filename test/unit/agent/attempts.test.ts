import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import type { Assignment } from "../../../agent/executor/executor.ts";
import { Stopped } from "../../../agent/executor/executor.ts";
import { attempts } from "../../../agent/session/attempts.ts";
import {
  type Assign,
  AssignSchema,
  CancelSchema,
  type HeldExecution,
  type Report,
  ReportSchema,
} from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { digestOf, digestToMessage } from "../../../shared/digest.ts";
import { fakeClock } from "../../support/fake-clock.ts";

function setup(slots = 2, ephemeral = false) {
  const finish = new Map<string, () => void>();
  const stops: { executionId: string; reason: unknown }[] = [];
  const kept: Report[] = [];
  const forgotten: string[] = [];
  const journaled: (bigint | undefined)[] = [];
  const operations: (Assign | undefined)[] = [];
  const spent: string[] = [];
  const outboxHeld: HeldExecution[] = [];
  const subject = attempts({
    slots,
    ephemeral,
    onSpent: () => spent.push(kept.map(({ executionId }) => executionId).join()),
    executor: {
      async execute({ executionId, epoch, attempt, operation, once }: Assignment, stop) {
        operations.push(operation);
        once?.lapse.addEventListener("abort", () => stops.push({ executionId, reason: once.lapse.reason }));
        stop.addEventListener("abort", () => stops.push({ executionId, reason: stop.reason }));
        await new Promise<void>((resolve) => finish.set(`${executionId}/${epoch.number}`, resolve));
        const ending = { kind: stop.reason instanceof Stopped ? stop.reason.kind : EndingKind.EXITED };
        return create(ReportSchema, { executionId, epoch, attempt, ending });
      },
    },
    outbox: {
      async put(report) {
        kept.push(report);
      },
      held: () => outboxHeld,
    },
    async forgetOperation({ executionId }) {
      forgotten.push(executionId);
    },
    async operationTakenOver({ epoch }) {
      journaled.push(epoch?.number);
    },
    clock: fakeClock(),
    onChange: () => {},
    onError: () => {},
  });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  return {
    ...{ subject, stops, kept, forgotten, spent, journaled, operations, outboxHeld, turn },
    assign: (executionId: string, number: bigint, term = 1n) =>
      subject.assign(
        create(AssignSchema, {
          executionId,
          epoch: { term, number },
          actionDigest: digestToMessage(digestOf(new Uint8Array(1))),
        }),
      ),
    assignOperation: (executionId: string, number: bigint) =>
      subject.assign(
        create(AssignSchema, {
          executionId,
          epoch: { term: 1n, number },
          attempt: Number(number),
          actionDigest: digestToMessage(digestOf(new Uint8Array(1))),
          hostOperation: {},
        }),
      ),
    async finish(key: string) {
      finish.get(key)?.();
      await turn();
    },
  };
}

describe("an agent's attempts", () => {
  test("are one in all when the agent is ephemeral, which is spent when its report is kept", async () => {
    const { assign, finish, turn, subject, spent } = setup(1, true);
    expect(subject.draining()).toBe(false);
    expect(assign("a", 1n).accepted).toBe(true);
    expect(subject.draining()).toBe(true);
    expect(assign("b", 2n)).toMatchObject({ accepted: false, refusal: "the agent is draining" });
    await turn();
    expect(spent).toEqual([]);
    await finish("a/1");
    expect(spent).toEqual(["a"]);
    subject.pause(false); // resumed by a person, it is spent all the same
    expect(assign("c", 3n).accepted).toBe(false);
  });

  test("are one when the farm has let the agent in for one, whatever it was told at its start", async () => {
    const { assign, subject } = setup(4);
    subject.becomeEphemeral();
    expect(assign("a", 1n).accepted).toBe(true);
    expect(assign("b", 2n).accepted).toBe(false);
  });

  test("go on when the agent is not ephemeral", async () => {
    const { assign, finish, turn, spent } = setup(1);
    assign("a", 1n);
    await turn();
    await finish("a/1");
    expect(spent).toEqual([]);
    expect(assign("b", 2n).accepted).toBe(true);
  });

  test("are taken while there are free slots", async () => {
    const { assign, finish, turn, kept, subject } = setup(2);
    expect(assign("a", 1n).accepted).toBe(true);
    expect(assign("b", 2n).accepted).toBe(true);
    expect(assign("c", 3n)).toMatchObject({ accepted: false, refusal: "all 2 slots are taken" });
    await turn();
    await finish("a/1");
    expect(kept.map(({ executionId }) => executionId)).toEqual(["a"]);
    expect(assign("c", 3n).accepted).toBe(true);
    expect(subject.held().map(({ executionId }) => executionId)).toEqual(["b", "c"]);
  });

  test("are refused when the same or a newer placement is held, running or in the outbox", () => {
    const { assign, outboxHeld } = setup(4);
    expect(assign("a", 5n).accepted).toBe(true);
    expect(assign("a", 5n).accepted).toBe(false);
    expect(assign("a", 9n, 0n).accepted).toBe(false);
    outboxHeld.push({ executionId: "b", epoch: { term: 2n, number: 1n } } as HeldExecution);
    expect(assign("b", 99n, 1n).accepted).toBe(false);
    expect(assign("b", 2n, 2n).accepted).toBe(true);
  });

  test("of an older epoch are stopped by a newer one", async () => {
    const { assign, stops, turn } = setup(2);
    assign("a", 1n);
    await turn();
    expect(assign("a", 2n).accepted).toBe(true);
    expect(stops.map(({ executionId }) => executionId)).toEqual(["a"]);
  });

  test("of a host operation are taken over by a newer epoch: nothing is begun twice, and the report bears it", async () => {
    const { assignOperation, finish, kept, forgotten, journaled, operations, stops, subject, turn } = setup(1);
    assignOperation("a", 1n);
    await turn();
    expect(assignOperation("a", 2n).accepted).toBe(true);
    expect(assignOperation("a", 1n).accepted).toBe(false);
    expect(journaled).toEqual([2n]);
    // What the journal is given when the operation's turn comes only now.
    expect(operations).toMatchObject([{ epoch: { number: 2n }, attempt: 2 }]);
    expect(subject.held()).toMatchObject([{ executionId: "a", epoch: { term: 1n, number: 2n } }]);
    await finish("a/1");
    expect(stops).toEqual([]);
    expect(kept).toMatchObject([{ executionId: "a", epoch: { number: 2n }, attempt: 2 }]);
    expect(forgotten).toEqual(["a"]);
  });

  test("of a host operation that the end of the agent cuts short are not reported: the next start goes on", async () => {
    const { assignOperation, finish, kept, forgotten, subject, turn } = setup(1);
    assignOperation("a", 1n);
    await turn();
    subject.stopAll(new Stopped(EndingKind.INFRASTRUCTURE, "the agent ends", 0));
    await finish("a/1");
    expect({ kept, forgotten }).toEqual({ kept: [], forgotten: [] });
    expect(subject.held()).toEqual([]);
  });

  test("of host operations end when the lease runs out, and are reported; tasks go on", async () => {
    const { assign, assignOperation, finish, kept, stops, subject, turn } = setup(2);
    assign("task", 1n);
    assignOperation("deploy", 2n);
    await turn();
    subject.endOperations(new Stopped(EndingKind.AGENT_LOST, "no word of the farm", 0));
    expect(stops).toMatchObject([{ executionId: "deploy", reason: { kind: EndingKind.AGENT_LOST } }]);
    await finish("deploy/2");
    expect(kept).toMatchObject([{ executionId: "deploy", ending: { kind: EndingKind.AGENT_LOST } }]);
    expect(subject.held()).toMatchObject([{ executionId: "task" }]);
  });

  test("are cancelled by the same epoch and not by an older one", async () => {
    const { assign, subject, stops, turn } = setup();
    assign("a", 5n);
    await turn();
    const cancel = (number: bigint) =>
      subject.cancel(create(CancelSchema, { executionId: "a", epoch: { term: 1n, number }, reason: "enough" })).known;
    expect(cancel(4n)).toBe(false);
    expect(stops).toEqual([]);
    expect(cancel(5n)).toBe(true);
    expect(stops[0]?.reason).toBeInstanceOf(Stopped);
    expect(stops[0]?.reason).toMatchObject({ kind: EndingKind.CANCELLED, message: "enough" });
  });

  test("are refused while draining, and idle comes when the last has ended", async () => {
    const { assign, subject, finish, turn } = setup();
    assign("a", 1n);
    await turn();
    subject.drain();
    expect(assign("b", 2n)).toMatchObject({ accepted: false, refusal: "the agent is draining" });
    let idle = false;
    const waiting = subject.idle(new AbortController().signal).then(() => {
      idle = true;
    });
    await turn();
    expect(idle).toBe(false);
    await finish("a/1");
    await waiting;
    expect(idle).toBe(true);
  });

  test("are refused while somebody wants it so, and taken again when not; one who leaves stays so", () => {
    const { assign, subject } = setup();
    subject.pause(true);
    expect(subject.draining()).toBe(true);
    expect(assign("a", 1n)).toMatchObject({ accepted: false, refusal: "the agent is draining" });
    subject.pause(false);
    expect(assign("a", 1n).accepted).toBe(true);
    subject.drain();
    subject.pause(false);
    expect(subject.draining()).toBe(true);
  });

  test("are refused, not thrown at, when the assignment makes no sense", () => {
    const { subject } = setup();
    const reply = subject.assign(create(AssignSchema, { executionId: "a" }));
    expect(reply.accepted).toBe(false);
    expect(reply.refusal).toContain("action_digest");
  });

  test("end what may happen once only when the farm is silent, and nothing else", async () => {
    const { assign, finish, stops, subject, turn } = setup();
    const digest = digestToMessage(digestOf(new Uint8Array(1)));
    subject.assign(create(AssignSchema, { executionId: "a", actionDigest: digest, atMostOnce: true }));
    assign("b", 2n);
    await turn();
    const reason = new Stopped(EndingKind.AGENT_LOST, "no word of the farm", 1);
    subject.endAtMostOnce(reason);
    expect(stops).toEqual([{ executionId: "a", reason }]);
    await finish("a/0");
    await finish("b/2");
  });
});
