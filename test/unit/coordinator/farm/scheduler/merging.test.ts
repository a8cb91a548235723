import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { outcomeWithoutReport, type Waiter } from "../../../../../coordinator/farm/scheduler/execution.ts";
import type { StoredExecution } from "../../../../../coordinator/farm/scheduler/execution-table.ts";
import {
  finishAll,
  isWorthSharing,
  merging,
  priorityOf,
  standingOf,
  waitingIds,
} from "../../../../../coordinator/farm/scheduler/merging.ts";
import { ActionSchema } from "../../../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ReportSchema } from "../../../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind } from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { digestKey, digestOf } from "../../../../../shared/digest.ts";
import { execution } from "../../../../support/scheduler-farm.ts";

const actions = ["compile", "link", "test"] as const;

/** What happens to those who share; `who` counts among those it can happen to. */
type Step =
  | { readonly kind: "join"; readonly action: (typeof actions)[number]; readonly priority: number; doNotCache: boolean }
  | { readonly kind: "leave"; readonly who: number }
  | { readonly kind: "forget"; readonly who: number }
  | { readonly kind: "end"; readonly who: number; readonly exitCode: number };

const steps = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("join" as const),
        action: fc.constantFrom(...actions),
        priority: fc.integer({ min: 0, max: 3 }),
        doNotCache: fc.boolean(),
      }),
    },
    fc.record({ kind: fc.constant("leave" as const), who: fc.nat() }),
    fc.record({ kind: fc.constant("forget" as const), who: fc.nat() }),
    fc.record({ kind: fc.constant("end" as const), who: fc.nat(), exitCode: fc.nat(1) }),
  ),
  { maxLength: 40 },
);

/** The real thing, driven as the scheduler drives it, and beside it what must be the case. */
function sharing() {
  const real = merging();
  const known: Waiter[] = [];
  /** Those who must share with the next who asks, by Action. */
  const open = new Map<string, string>();
  let joined = 0;

  function join({ action, priority, doNotCache }: Extract<Step, { kind: "join" }>): void {
    const id = `x${joined++}`;
    const request = execution(id, {
      priority,
      actionDigest: digestOf(Buffer.from(action)),
      action: create(ActionSchema, { doNotCache }),
    });
    const expected = doNotCache ? id : (open.get(action) ?? id);
    const waiter = real.join(request, async () => {});
    expect(waiter.execution.request.id).toBe(expected);
    // Of a success that is still there the end is known at once.
    expect(waiter.outcome === undefined).toBe(waiter.execution.phase.kind !== "finished");
    if (!doNotCache) open.set(action, expected);
    known.push(waiter);
  }

  function closed(id: string): void {
    for (const [action, execution] of open) if (execution === id) open.delete(action);
  }

  /** A request is cancelled: the others keep the execution, and the last one takes it along. */
  function leave(waiter: Waiter): void {
    const { execution } = waiter;
    const outcome = outcomeWithoutReport(execution, EndingKind.CANCELLED, "enough");
    if (execution.waiters.size > 1) {
      real.leave(waiter);
      waiter.outcome = outcome;
      expect(waitingIds(execution)).not.toContain(waiter.request.id);
      return;
    }
    real.close(execution);
    end(execution, outcome);
  }

  function end(execution: Waiter["execution"], outcome: ReturnType<typeof outcomeWithoutReport>): void {
    execution.phase = { kind: "finished", outcome };
    if (!isWorthSharing(outcome)) {
      real.close(execution);
      closed(execution.request.id);
    }
    for (const each of execution.waiters) each.outcome = outcome;
  }

  function forget(waiter: Waiter): void {
    const { execution, request } = waiter;
    real.forget(waiter);
    known.splice(known.indexOf(waiter), 1);
    expect(real.waiter(request.id)).toBeUndefined();
    if (!known.some((other) => other.execution === execution && execution.waiters.has(other))) {
      if (execution.phase.kind === "finished") closed(execution.request.id);
    }
  }

  const pick = (from: readonly Waiter[], who: number): Waiter | undefined => from[who % Math.max(1, from.length)];
  return {
    real,
    known,
    open,
    take(step: Step): void {
      if (step.kind === "join") return join(step);
      const waiting = known.filter(({ outcome }) => outcome === undefined);
      if (step.kind === "forget") {
        const victim = pick(
          known.filter(({ outcome }) => outcome !== undefined),
          step.who,
        );
        if (victim !== undefined) forget(victim);
        return;
      }
      const waiter = pick(waiting, step.who);
      if (waiter === undefined) return;
      if (step.kind === "leave") return leave(waiter);
      const ending = { kind: EndingKind.EXITED, exitCode: step.exitCode };
      end(waiter.execution, create(ReportSchema, { ending, result: {}, attempt: 1 }));
    },
  };
}

test("whatever happens, those who ask for the same share one execution, at the greatest priority of those who wait", () => {
  fc.assert(
    fc.property(steps, (all) => {
      const { real, known, take } = sharing();
      for (const step of all) {
        take(step);
        for (const waiter of known) {
          const { execution } = waiter;
          expect(real.waiter(waiter.request.id)).toBe(waiter);
          if (waiter.outcome !== undefined && !execution.waiters.has(waiter)) continue;
          const together = known.filter((other) => other.execution === execution && execution.waiters.has(other));
          expect(waitingIds(execution)).toEqual(together.map(({ request }) => request.id));
          expect(priorityOf(execution)).toBe(Math.max(...together.map(({ request }) => request.priority)));
          // The name by which reports find it, also when the one it is named after has gone.
          expect(real.execution(execution.request.id)).toBe(execution);
        }
        const running = new Map<string, Waiter["execution"]>();
        for (const { execution, outcome } of known) {
          const { request } = execution;
          if (outcome !== undefined || request.action.doNotCache) continue;
          const key = digestKey(request.actionDigest);
          expect(running.get(key) ?? execution).toBe(execution);
          running.set(key, execution);
        }
      }
    }),
  );
});

test("a restart brings back who shares with whom, who had gone before, and who may still join", () => {
  fc.assert(
    fc.property(steps, (all) => {
      const { known, open, take } = sharing();
      for (const step of all) take(step);
      const rows = known.map(
        (waiter): StoredExecution => ({
          ...standingOf(waiter.execution),
          request: waiter.request,
          outcome: waiter.outcome,
        }),
      );
      const after = merging();
      const restored = after.restore(rows);
      for (const before of known) {
        const now = after.waiter(before.request.id);
        expect(now?.isTold).toBe(true);
        expect(now?.outcome).toEqual(before.outcome);
        if (before.outcome !== undefined) continue;
        expect(restored).toContain(now?.execution);
        expect(now?.execution.request.id).toBe(before.execution.request.id);
        expect(now === undefined ? [] : waitingIds(now.execution)).toEqual(waitingIds(before.execution));
      }
      for (const [action, runsAs] of open) {
        const late = execution("late", { actionDigest: digestOf(Buffer.from(action)) });
        expect(after.join(late, async () => {}).execution.request.id).toBe(runsAs);
      }
    }),
  );
});

test("those who join while the end is written are written, too, each once", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(3), { maxLength: 5 }), async (late) => {
      const real = merging();
      let count = 0;
      const join = () =>
        real.join(execution(`x${count++}`, { actionDigest: digestOf(Buffer.from("a")) }), async () => {});
      const { execution: shared } = join();
      const written: string[] = [];
      const waves = [...late];
      await finishAll(shared, async (ids) => {
        written.push(...ids);
        for (let more = waves.shift() ?? 0; more > 0; more -= 1) join();
      });
      expect([...written].sort()).toEqual([...waitingIds(shared)].sort());
      expect(new Set(written).size).toBe(written.length);
    }),
  );
});

test.each([
  ["a success", { kind: EndingKind.EXITED, exitCode: 0 }, true],
  ["a failure", { kind: EndingKind.EXITED, exitCode: 1 }, false],
  ["a failure of the farm", { kind: EndingKind.INFRASTRUCTURE }, false],
  ["a lost agent", { kind: EndingKind.AGENT_LOST }, false],
  ["a cancelled one", { kind: EndingKind.CANCELLED }, false],
])("%s: whether one who asks later may have it", (_name, ending, shared) => {
  expect(isWorthSharing(create(ReportSchema, { ending, result: {} }))).toBe(shared);
});

test("a success without a result is not shared", () => {
  expect(isWorthSharing(create(ReportSchema, { ending: { kind: EndingKind.EXITED } }))).toBe(false);
});
