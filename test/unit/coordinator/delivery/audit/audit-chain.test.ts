import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { chainCheck, linkOf, recordAfter } from "../../../../../coordinator/delivery/audit/audit-chain.ts";
import type { AuditedCall, ChainLink } from "../../../../../coordinator/delivery/audit/audit-log.ts";
import { type Event, EventSchema } from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../../../shared/limits.ts";

const call: AuditedCall = {
  ...{ principal: "user:anna", project: "shop", traceparent: "", outcome: "ok", detail: "" },
  ...{ method: "millrace.v1.RunService/CancelRun", target: "run_1" },
};

function chain(length: number): Event[] {
  const events: Event[] = [];
  let head: ChainLink | undefined;
  for (let n = 1; n <= length; n += 1) {
    const event = recordAfter(head, { ...call, target: `run_${n}` }, 1_000 * n);
    events.push(event);
    head = linkOf(event);
  }
  return events;
}

function faultOf(events: readonly Event[], known: readonly ChainLink[] = []): number | undefined {
  const check = chainCheck({ known, after: 0 });
  for (const event of events) check.add(event);
  const [fault] = check.end().faults;
  return fault === undefined ? undefined : Number(fault.sequence);
}

const noted = (events: readonly Event[]): ChainLink[] => events.slice(-1).flatMap((event) => linkOf(event) ?? []);

/** One thing of a record is another one. */
const changes: readonly ((event: Event) => Event)[] = [
  (event) => ({ ...event, principal: "user:berta" }),
  (event) => ({ ...event, project: "other" }),
  (event) => ({ ...event, time: recordAfter(undefined, call, 5).time }),
  (event) => changed(event, "outcome", "permission_denied"),
  (event) => changed(event, "target", "run_99"),
  (event) => changed(event, "detail", "x"),
];

function changed(event: Event, field: "outcome" | "target" | "detail", value: string): Event {
  if (event.kind.case !== "callAudited") return event;
  return create(EventSchema, {
    ...event,
    kind: { case: "callAudited", value: { ...event.kind.value, [field]: value } },
  });
}

test("a chain that nobody has touched is whole, in whatever form it is kept", () => {
  const events = chain(20);
  expect(faultOf(events, noted(events))).toBeUndefined();
  const lifted = events.map((event) => create(EventSchema, { ...event, version: 3 }));
  expect(faultOf(lifted, noted(events))).toBeUndefined();
  expect(faultOf([])).toBeUndefined();
});

test("a record that is changed, removed, doubled or moved is found, and it is said which one", () => {
  const index = fc.integer({ min: 0, max: 11 });
  fc.assert(
    fc.property(index, index, fc.constantFrom(...changes), (at, other, change) => {
      const events = chain(12);
      const known = noted(events);
      const one = events[at] ?? expect.unreachable();
      expect(faultOf(events.with(at, change(one)), known)).toBe(at + 1);
      expect(faultOf(events.toSpliced(at, 1), known)).toBe(at + 1);
      expect(faultOf(events.toSpliced(at, 0, one), known)).toBe(at + 1);
      if (at === other) return;
      const moved = events.toSpliced(at, 1).toSpliced(other, 0, one);
      expect(faultOf(moved, known)).toBe(Math.min(at, other) + 1);
    }),
  );
});

test("whoever makes the whole chain anew is found by a link that was noted elsewhere", () => {
  const events = chain(6);
  let head: ChainLink | undefined;
  const forged = events.map((_event, index) => {
    const target = index === 2 ? "nothing" : `run_${index + 1}`;
    const made = recordAfter(head, { ...call, target }, 1_000 * (index + 1));
    head = linkOf(made);
    return made;
  });
  expect(faultOf(forged)).toBeUndefined();
  expect(faultOf(forged, noted(events))).toBe(6);
});

test("records that cannot be decoded are faults in their place, and those behind them are checked all the same", () => {
  const index = fc.integer({ min: 0, max: 11 });
  fc.assert(
    fc.property(index, index, (at, other) => {
      const events = chain(12);
      const known = noted(events);
      const check = chainCheck({ known, after: 0 });
      for (const [place, event] of events.entries()) {
        const isChanged = place === other && place > at + 1;
        if (place === at) check.addUnreadable(1, "no protobuf");
        else check.add(isChanged ? changed(event, "target", "run_99") : event);
      }
      const { faults, records } = check.end();
      expect(records).toBe(11);
      const expected = [{ sequence: BigInt(at + 1), reason: "cannot be decoded: no protobuf" }];
      if (other > at + 1) expect(faults).toMatchObject([...expected, { sequence: BigInt(other + 1) }]);
      else expect(faults).toMatchObject(expected);
    }),
  );
});

test("a part of a chain is checked without what is before it, and a mark says what it is about", () => {
  const events = chain(10);
  const mark = recordAfter(linkOf(events[9] ?? expect.unreachable()), { ...call, broken: [3, 7] }, 99);
  const check = chainCheck({ known: noted([mark]), after: 4 });
  for (const event of [...events.slice(4), mark]) check.add(event);
  const { faults, marked, head } = check.end();
  expect({ faults, marked: [...marked], head }).toEqual({ faults: [], marked: [3, 7], head: linkOf(mark) });
});

test("what is recorded is bounded", () => {
  const { kind } = recordAfter(undefined, { ...call, target: "x".repeat(9_999), detail: "y".repeat(9_999) }, 1);
  expect(kind.value).toMatchObject({
    target: "x".repeat(limits.auditTargetChars),
    detail: "y".repeat(limits.auditDetailChars),
  });
});
