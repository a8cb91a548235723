import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { limits } from "../../../../shared/limits.ts";
import { closure, orderByNeeds } from "../../../../shared/pipeline/order.ts";

describe("an order by needs", () => {
  const graph = fc.array(fc.uniqueArray(fc.nat(9), { maxLength: 4 }), { minLength: 10, maxLength: 10 });
  const reader = (needs: readonly (readonly number[])[]) => (name: string) => (needs[Number(name)] ?? []).map(String);
  const names = Array.from({ length: 10 }, (_, n) => String(n));

  it("puts each after what it needs, exactly when there is no circle", () => {
    fc.assert(
      fc.property(graph, (needs) => {
        const needsOf = reader(needs);
        const { order, cycles } = orderByNeeds(names, needsOf);
        expect(order.toSorted()).toEqual(names);
        const place = new Map(order.map((name, index) => [name, index]));
        const sorted = names.every((name) =>
          needsOf(name).every((need) => (place.get(need) ?? 0) < (place.get(name) ?? 0)),
        );
        expect(cycles.length === 0).toBe(sorted);
        const circular = names.some((name) => closure(needsOf(name), needsOf).has(name));
        expect(cycles.length > 0).toBe(circular);
        for (const cycle of cycles) {
          expect(cycle.at(-1)).toBe(cycle[0]);
          for (const [index, name] of cycle.slice(1).entries()) expect(needsOf(cycle[index] ?? "")).toContain(name);
        }
      }),
    );
  });

  it("keeps the given order where needs allow", () => {
    expect(orderByNeeds(["c", "a", "b"], (name) => (name === "a" ? ["b"] : [])).order).toEqual(["c", "b", "a"]);
  });

  it("follows a chain as long as a run may have tasks", () => {
    const last = limits.runTasks - 1;
    const { order } = orderByNeeds(["0"], (name) => (Number(name) < last ? [String(Number(name) + 1)] : []));
    expect(order.length).toBe(limits.runTasks);
    expect(order[0]).toBe(String(last));
  });
});
