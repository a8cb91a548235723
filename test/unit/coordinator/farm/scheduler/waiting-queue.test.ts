import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { requirementOf } from "../../../../../coordinator/farm/scheduler/requirement.ts";
import { type Waiting, waitingQueue } from "../../../../../coordinator/farm/scheduler/waiting-queue.ts";
import { PlatformSchema } from "../../../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";

const requirements = ["linux", "mac"].map((value) =>
  requirementOf(create(PlatformSchema, { properties: [{ name: "os", value }] })),
);

const waitings = fc
  .uniqueArray(
    fc.record({
      id: fc.integer({ min: 0, max: 99 }).map(String),
      priority: fc.integer({ min: 0, max: 2 }),
      fairGroup: fc.constantFrom("run_1", "run_2", "run_3"),
      requirement: fc.constantFrom(...requirements),
      order: fc.nat(),
    }),
    { selector: ({ id }) => id, maxLength: 30 },
  )
  .map((all) => all.map((one, index) => ({ ...one, order: one.order * 100 + index })));

/** What the queue promises, said the slow way. */
function slowNext(waiting: readonly Waiting[], wanted: string | undefined, running: (group: string) => number) {
  return waiting
    .filter(({ requirement }) => wanted === undefined || requirement.key === wanted)
    .toSorted((a, b) => b.priority - a.priority || running(a.fairGroup) - running(b.fairGroup) || a.order - b.order)[0]
    ?.id;
}

test("the next is the one of greatest priority, then of the least busy group, then the first to come, whatever comes, goes and runs", () => {
  const changes = fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant("remove" as const), which: fc.nat() }),
      fc.record({ kind: fc.constant("add again" as const), which: fc.nat() }),
      fc.record({
        kind: fc.constant("run" as const),
        group: fc.constantFrom("run_1", "run_2", "run_3"),
        count: fc.nat(3),
      }),
    ),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(
      waitings,
      changes,
      fc.constantFrom(undefined, ...requirements.map(({ key }) => key)),
      (all, steps, wanted) => {
        const busy = new Map<string, number>();
        const running = (group: string): number => busy.get(group) ?? 0;
        const queue = waitingQueue(running);
        for (const waiting of all) queue.add(waiting);
        const left = new Map(all.map((waiting) => [waiting.id, waiting]));
        for (const step of steps) {
          const victim = step.kind === "run" ? undefined : all[step.which % Math.max(1, all.length)];
          if (step.kind === "run") {
            busy.set(step.group, step.count);
            queue.runningChanged(step.group);
          } else if (step.kind === "remove" && victim !== undefined) {
            expect(queue.remove(victim.id)).toBe(left.delete(victim.id));
          } else if (victim !== undefined) {
            queue.add(victim);
            left.set(victim.id, victim);
          }
          const next = queue.next(({ key }) => wanted === undefined || key === wanted);
          expect(next?.id).toBe(slowNext([...left.values()], wanted, running));
          expect(queue.size).toBe(left.size);
        }
        const keys = new Set([...left.values()].map(({ requirement }) => requirement.key));
        expect(new Set([...queue.requirements()].map(({ key }) => key))).toEqual(keys);
        const waitingIds = requirements.flatMap((requirement) =>
          [...queue.waitingFor(requirement)].map(({ id }) => id),
        );
        expect(waitingIds.sort()).toEqual([...left.keys()].sort());
      },
    ),
  );
});

test("removing what does not wait changes nothing", () => {
  const queue = waitingQueue(() => 0);
  expect(queue.remove("nobody")).toBe(false);
  expect(queue.size).toBe(0);
});
