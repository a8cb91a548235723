import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { nextPlacement, type Place } from "../../../../../coordinator/farm/scheduler/placement.ts";
import { requirementOf, satisfies } from "../../../../../coordinator/farm/scheduler/requirement.ts";
import { waitingQueue } from "../../../../../coordinator/farm/scheduler/waiting-queue.ts";
import { PlatformSchema } from "../../../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";

const linux = requirementOf(create(PlatformSchema, { properties: [{ name: "os", value: "linux" }] }));
const anything = requirementOf(undefined);
const idle = (): number => 0;

function place(id: string, extra: Partial<Place> = {}): Place {
  return { id, labels: { os: "linux" }, slots: 2, used: 0, standing: "open", ...extra };
}

function queueOf(...requirements: (typeof linux)[]) {
  const queue = waitingQueue();
  for (const [index, requirement] of requirements.entries()) {
    queue.add({ id: `x${index}`, priority: 0, fairGroup: "run_1", requirement });
  }
  return queue;
}

test("an execution goes to the agent with the greatest share of free slots", () => {
  const places = [place("a", { used: 1 }), place("b", { slots: 4, used: 1 }), place("c", { slots: 1, used: 1 })];
  expect(nextPlacement(queueOf(linux), places, idle)?.agentId).toBe("b");
});

test("an execution that fits nowhere does not hold up one that came later and fits", () => {
  const places = [place("a", { labels: { os: "mac" } })];
  expect(nextPlacement(queueOf(linux, anything), places, idle)).toMatchObject({ waiting: { id: "x1" }, agentId: "a" });
});

test("nothing is placed on an agent that is full, takes nothing or lacks a label, whatever the farm looks like", () => {
  const places = fc.array(
    fc.record({
      id: fc.string({ minLength: 1, maxLength: 3 }),
      labels: fc.constantFrom({ os: "linux" }, { os: "mac" }, {}),
      slots: fc.integer({ min: 1, max: 3 }),
      used: fc.integer({ min: 0, max: 3 }),
      standing: fc.constantFrom<Place["standing"]>("open", "closed", "draining"),
    }),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(places, fc.constantFrom(linux, anything), (farm: Place[], requirement) => {
      const open = farm.filter(({ standing }) => standing === "open");
      const fits = open.filter(({ labels, used, slots }) => used < slots && satisfies(labels, requirement));
      const placed = nextPlacement(queueOf(requirement), farm, idle);
      expect(placed === undefined).toBe(fits.length === 0);
      if (placed !== undefined) expect(fits.map(({ id }) => id)).toContain(placed.agentId);
    }),
  );
});
