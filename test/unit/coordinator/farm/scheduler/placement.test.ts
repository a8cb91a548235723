import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { nextPlacement, type Place, places } from "../../../../../coordinator/farm/scheduler/placement.ts";
import { avoiding, requirementOf, satisfies } from "../../../../../coordinator/farm/scheduler/requirement.ts";
import { waitingQueue } from "../../../../../coordinator/farm/scheduler/waiting-queue.ts";
import { PlatformSchema } from "../../../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";

const linux = requirementOf(create(PlatformSchema, { properties: [{ name: "os", value: "linux" }] }));
const anything = requirementOf(undefined);

function place(id: string, extra: Partial<Place> = {}): Place {
  return { id, labels: { os: "linux" }, slots: 2, used: 0, standing: "open", ...extra };
}

function queueOf(...requirements: (typeof linux)[]) {
  const queue = waitingQueue(() => 0);
  for (const [index, requirement] of requirements.entries()) {
    queue.add({ id: `x${index}`, priority: 0, fairGroup: "run_1", requirement, order: index });
  }
  return queue;
}

function farmOf(all: readonly Place[]) {
  const farm = places();
  for (const place of all) farm.set(place);
  return farm;
}

test("an execution goes to the agent with the greatest share of free slots", () => {
  const all = [place("a", { used: 1 }), place("b", { slots: 4, used: 1 }), place("c", { slots: 1, used: 1 })];
  expect(nextPlacement(queueOf(linux), farmOf(all))?.agentId).toBe("b");
});

test("an execution that fits nowhere does not hold up one that came later and fits", () => {
  const all = [place("a", { labels: { os: "mac" } })];
  expect(nextPlacement(queueOf(linux, anything), farmOf(all))).toMatchObject({ waiting: { id: "x1" }, agentId: "a" });
});

test("nothing is placed on an agent that is full, takes nothing or lacks a label, whatever the farm looks like", () => {
  const farms = fc.uniqueArray(
    fc.record({
      id: fc.string({ minLength: 1, maxLength: 3 }),
      labels: fc.constantFrom({ os: "linux" }, { os: "mac" }, {}),
      slots: fc.integer({ min: 1, max: 3 }),
      used: fc.integer({ min: 0, max: 3 }),
      standing: fc.constantFrom<Place["standing"]>("open", "resting", "draining"),
    }),
    { maxLength: 8, selector: ({ id }) => id },
  );
  fc.assert(
    fc.property(farms, fc.constantFrom(linux, anything), (farm: Place[], requirement) => {
      const open = farm.filter(({ standing }) => standing === "open");
      const fits = open.filter(({ labels, used, slots }) => used < slots && satisfies(labels, requirement));
      const placed = nextPlacement(queueOf(requirement), farmOf(farm));
      expect(placed === undefined).toBe(fits.length === 0);
      if (placed !== undefined) expect(fits.map(({ id }) => id)).toContain(placed.agentId);
    }),
  );
});

/** What `bestFor` promises, said the slow way. */
function slowBest(farm: readonly Place[], requirement: typeof linux): string | undefined {
  const { avoids = [], excludes = [] } = requirement;
  const isAvoided = ({ id }: Place) => avoids.includes(id);
  const matching = farm.filter(
    ({ labels, id }) => satisfies({ ...labels, agent: id }, requirement) && !excludes.includes(id),
  );
  const others = matching.some((each) => each.standing !== "draining" && !isAvoided(each));
  return matching
    .filter((each) => each.standing === "open" && each.used < each.slots && !(others && isAvoided(each)))
    .toSorted((a, b) => a.used / a.slots - b.used / b.slots || (a.id < b.id ? -1 : 1))[0]?.id;
}

test("the best place is the emptiest that may have it, however the farm has changed and whatever is avoided", () => {
  const ids = ["a", "b", "c", "d", "e"];
  const changes = fc.array(
    fc.record({
      id: fc.constantFrom(...ids),
      labels: fc.constantFrom<Record<string, string>>({ os: "linux" }, { os: "linux", gpu: "yes" }, { os: "mac" }),
      slots: fc.integer({ min: 1, max: 3 }),
      used: fc.integer({ min: 0, max: 3 }),
      standing: fc.constantFrom<Place["standing"] | "gone">(
        ...(["open", "open", "open", "refusing", "resting", "spent", "draining", "gone"] as const),
      ),
    }),
    { maxLength: 20 },
  );
  const tied = requirementOf(create(PlatformSchema, { properties: [{ name: "agent", value: "b" }] }));
  const elsewhere = requirementOf(create(PlatformSchema, { properties: [{ name: "os", value: "linux" }] }), ["b", "c"]);
  const notThere = requirementOf(create(PlatformSchema, { properties: [{ name: "agent", value: "b" }] }), ["b"]);
  const choosy = [
    avoiding(linux, "a"),
    avoiding(avoiding(linux, "a"), "b"),
    avoiding(elsewhere, "a"),
    avoiding(elsewhere, "b"),
  ];
  const wanted = fc.constantFrom(linux, anything, tied, elsewhere, notThere, ...choosy);
  fc.assert(
    fc.property(changes, wanted, (all, requirement) => {
      const farm = places();
      const known = new Map<string, Place>();
      for (const { standing, labels, ...rest } of all) {
        if (standing === "gone") {
          farm.remove(rest.id);
          known.delete(rest.id);
        } else {
          const next = { ...rest, standing, labels: { ...labels, agent: rest.id } };
          farm.set(next);
          known.set(rest.id, next);
        }
        const present = [...known.values()];
        expect(farm.bestFor(requirement)?.id).toBe(slowBest(present, requirement));
        const mayHave = present.filter(({ id }) => requirement.excludes?.includes(id) !== true);
        const taking = mayHave.filter((each) => each.standing !== "draining" && satisfies(each.labels, requirement));
        const pausing = taking.filter(({ standing, used, slots }) => standing.startsWith("re") && used < slots);
        const found = farm.matching(requirement);
        expect(found.taking).toBe(taking.length);
        expect(found.pausing.map(({ id }) => id).sort()).toEqual(pausing.map(({ id }) => id).sort());
        expect(farm.free).toBe(present.filter((each) => each.standing === "open" && each.used < each.slots).length);
      }
    }),
  );
});
