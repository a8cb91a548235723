import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { newExecution } from "../../../../../coordinator/farm/scheduler/execution.ts";
import type { Place } from "../../../../../coordinator/farm/scheduler/placement.ts";
import { queuePlaces } from "../../../../../coordinator/farm/scheduler/queue-places.ts";
import { requirementOf, satisfies } from "../../../../../coordinator/farm/scheduler/requirement.ts";
import { slots as emptySlots } from "../../../../../coordinator/farm/scheduler/slots.ts";
import { waitingQueue } from "../../../../../coordinator/farm/scheduler/waiting-queue.ts";
import { PlatformSchema } from "../../../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { limits } from "../../../../../shared/limits.ts";
import { execution } from "../../../../support/scheduler-farm.ts";

const asking = (properties: Record<string, string>) =>
  requirementOf(
    create(PlatformSchema, {
      properties: Object.entries(properties).map(([name, value]) => ({ name, value })),
    }),
  );
const requirements = [asking({ os: "linux" }), asking({ os: "mac" }), asking({ disk: "fast" }), asking({})];
const groups = ["run_1", "run_2", "run_3"] as const;

const waiting = fc
  .uniqueArray(
    fc.record({
      id: fc.integer({ min: 0, max: 999 }).map(String),
      priority: fc.integer({ min: 0, max: 2 }),
      fairGroup: fc.constantFrom(...groups),
      requirement: fc.constantFrom(...requirements),
    }),
    { selector: ({ id }) => id, minLength: 1, maxLength: 40 },
  )
  .map((all) => all.map((one, order) => ({ ...one, order })));
const agents = fc.uniqueArray(
  fc.record({
    id: fc.constantFrom("a", "b", "c", "d"),
    labels: fc.constantFrom({ os: "linux" }, { os: "mac" }, { os: "linux", disk: "fast" }, {}),
    slots: fc.integer({ min: 1, max: 4 }),
    standing: fc.constantFrom<Place["standing"]>("open", "resting", "draining"),
  }),
  { selector: ({ id }) => id, maxLength: 4 },
);
const running = fc.record({ run_1: fc.nat(3), run_2: fc.nat(3), run_3: fc.nat(3) });

/** Slots of which `counts` are taken on an agent for each group. */
function taken(agentId: string, counts: Readonly<Record<(typeof groups)[number], number>>) {
  const slots = emptySlots();
  for (const group of groups) {
    for (let count = 0; count < counts[group]; count += 1) {
      const held = newExecution(execution(`${group}.${count}`, { fairGroup: group }), count);
      slots.take(held, { agentId, epoch: { term: 1, number: 1 }, attempt: 1 });
    }
  }
  return slots;
}

test("the position is the turn in which the queue would place it, if slots came free one by one", () => {
  fc.assert(
    fc.property(waiting, agents, running, (entries, farm, counts) => {
      const queue = waitingQueue((group) => counts[group as keyof typeof counts]);
      for (const entry of entries) queue.add(entry);
      const places: Place[] = farm.map((place) => ({ ...place, used: 0 }));
      const slots = taken(places[0]?.id ?? "none", counts);
      const found = queuePlaces(
        entries.map(({ id }) => id),
        { queue, places, slots, scaling: [] },
      );
      for (const { id, requirement } of entries) {
        const matching = places.filter(
          (place) => place.standing !== "draining" && satisfies(place.labels, requirement),
        );
        const competes = (other: typeof requirement) =>
          other.key === requirement.key || matching.some(({ labels }) => satisfies(labels, other));
        const now = new Map(groups.map((group) => [group as string, counts[group]]));
        const left = waitingQueue((group) => now.get(group) ?? 0);
        for (const entry of entries) left.add(entry);
        let turn = 0;
        for (;;) {
          const next = left.next(competes);
          expect(next).toBeDefined();
          if (next === undefined) return;
          turn += 1;
          if (next.id === id) break;
          left.remove(next.id);
          now.set(next.fairGroup, (now.get(next.fairGroup) ?? 0) + 1);
          left.runningChanged(next.fairGroup);
        }
        expect(found.get(id)).toMatchObject({
          position: turn,
          waiting: entries.filter((entry) => competes(entry.requirement)).length,
          slots: matching.reduce((sum, place) => sum + place.slots, 0),
        });
      }
    }),
  );
});

test("the answer names what holds the slots, up to its bound, and nothing that is not queued", () => {
  const queue = waitingQueue(() => 0);
  const [linux = asking({})] = requirements;
  queue.add({ id: "x", priority: 0, fairGroup: "run_9", requirement: linux, order: 0 });
  const places: Place[] = [{ id: "a", labels: { os: "linux" }, slots: 30, used: 21, standing: "open" }];
  const slots = taken("a", { run_1: 7, run_2: 7, run_3: 7 });
  const found = queuePlaces(["x", "unknown"], { queue, places, slots, scaling: [] });
  expect([...found.keys()]).toEqual(["x"]);
  const place = found.get("x");
  expect(place).toMatchObject({ position: 1, waiting: 1, slots: 30, slotsUsed: 21 });
  expect(place?.holders).toHaveLength(limits.queueHolders);
  expect(place?.holders[0]).toEqual({ execution: "run_1.0", agent: "a" });
});
