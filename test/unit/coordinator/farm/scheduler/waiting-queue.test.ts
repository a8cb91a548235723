import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { requirementOf } from "../../../../../coordinator/farm/scheduler/requirement.ts";
import { type Waiting, waitingQueue } from "../../../../../coordinator/farm/scheduler/waiting-queue.ts";
import { PlatformSchema } from "../../../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";

const requirements = ["linux", "mac"].map((value) =>
  requirementOf(create(PlatformSchema, { properties: [{ name: "os", value }] })),
);

const waitings = fc.uniqueArray(
  fc.record({
    id: fc.integer({ min: 0, max: 99 }).map(String),
    priority: fc.integer({ min: 0, max: 2 }),
    fairGroup: fc.constantFrom("run_1", "run_2", "run_3"),
    requirement: fc.constantFrom(...requirements),
  }),
  { selector: ({ id }) => id, maxLength: 30 },
);

/** What the queue promises, said the slow way. */
function slowNext(arrived: readonly Waiting[], wanted: string | undefined, running: (group: string) => number) {
  return arrived
    .filter(({ requirement }) => wanted === undefined || requirement.key === wanted)
    .map((waiting, order) => ({ waiting, order }))
    .sort(
      (a, b) =>
        b.waiting.priority - a.waiting.priority ||
        running(a.waiting.fairGroup) - running(b.waiting.fairGroup) ||
        a.order - b.order,
    )[0]?.waiting.id;
}

test("the next is the one of greatest priority, then of the least busy group, then the first to come", () => {
  fc.assert(
    fc.property(
      waitings,
      fc.array(fc.nat()),
      fc.record({ run_1: fc.nat(3), run_2: fc.nat(3), run_3: fc.nat(3) }),
      fc.constantFrom(undefined, ...requirements.map(({ key }) => key)),
      (all, removals, busy, wanted) => {
        const queue = waitingQueue();
        for (const waiting of all) queue.add(waiting);
        let left: Waiting[] = all;
        for (const removal of removals) {
          const victim = left[removal % Math.max(1, left.length)];
          if (victim === undefined) break;
          expect(queue.remove(victim.id)).toBe(true);
          left = left.filter(({ id }) => id !== victim.id);
        }
        const running = (group: string): number => busy[group as keyof typeof busy];
        const next = queue.next(({ key }) => wanted === undefined || key === wanted, running);
        expect(next?.id).toBe(slowNext(left, wanted, running));
        expect(queue.size).toBe(left.length);
        const keys = new Set(left.map(({ requirement }) => requirement.key));
        expect(new Set([...queue.requirements()].map(({ key }) => key))).toEqual(keys);
      },
    ),
  );
});

test("removing what does not wait changes nothing", () => {
  const queue = waitingQueue();
  expect(queue.remove("nobody")).toBe(false);
  expect(queue.size).toBe(0);
});
