import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type AgentSight,
  type Member,
  type MemberState,
  nextSteps,
  type PoolSight,
} from "../../../../../coordinator/farm/pools/members.ts";
import { runs } from "../../../../support/property-runs.ts";

const idle: AgentSight = { isHeard: true, isDraining: false, silentMs: 0, holds: 0 };
const member = (id: string, state: MemberState, askedMs = 0): Member => ({ id, state, askedMs });

/** A pool with these members and agents; whoever has an agent is named by the provider. */
function sight(
  members: readonly Member[],
  agents: Readonly<Record<string, Partial<AgentSight>>>,
  extra: Partial<PoolSight> = {},
): PoolSight {
  return {
    ...{
      needed: extra.desired ?? 0,
      desired: 0,
      max: 8,
      ephemeral: false,
      joinTimeoutMs: 60_000,
      nowMs: 1_000,
      members,
    },
    agent: (id) => (agents[id] === undefined ? undefined : { ...idle, ...agents[id] }),
    listed: new Set(members.map(({ id }) => id)),
    isSettled: () => true,
    isRemoved: () => false,
    ...extra,
  };
}

const movesOf = (pool: PoolSight): Record<string, MemberState> =>
  Object.fromEntries(nextSteps(pool).moves.map(({ id, state }) => [id, state]));

describe("a member", () => {
  it("has joined when its agent is heard", () => {
    expect(movesOf(sight([member("a", "asked")], { a: {} }, { desired: 1 }))).toEqual({ a: "joined" });
  });

  it("is given up and replaced when it does not join in time", () => {
    const late = sight([member("a", "asked", 0)], {}, { desired: 1, nowMs: 60_000 });
    expect(nextSteps(late)).toMatchObject({
      moves: [{ id: "a", state: "removing" }],
      add: 1,
      failures: ["a did not join within 60 s"],
    });
    expect(nextSteps({ ...late, nowMs: 59_999 })).toEqual({ moves: [], gone: [], add: 0, failures: [] });
  });

  it("is given up as soon as the provider does not name it, but not before it had time to", () => {
    const ended = sight([member("a", "asked")], {}, { desired: 1, listed: new Set() });
    expect(nextSteps(ended).failures).toEqual(["a ended before it joined"]);
    expect(movesOf({ ...ended, isSettled: () => false })).toEqual({});
    expect(movesOf({ ...ended, listed: undefined })).toEqual({});
  });

  it("is forgotten when its process has ended, and kept while it is only not heard", () => {
    const lost = { a: { isHeard: false, silentMs: 12_000 } };
    expect(movesOf(sight([member("a", "joined")], lost, { desired: 1, listed: new Set() }))).toEqual({ a: "removing" });
    expect(movesOf(sight([member("a", "joined")], lost, { desired: 1 }))).toEqual({});
    const long = { a: { isHeard: false, silentMs: 60_000 } };
    expect(movesOf(sight([member("a", "joined")], long, { desired: 1 }))).toEqual({ a: "removing" });
  });

  it("that is heard is not taken for ended, whatever the provider says", () => {
    expect(movesOf(sight([member("a", "joined")], { a: {} }, { desired: 1, listed: new Set() }))).toEqual({});
  });

  it("goes when its agent was forgotten: an ephemeral one has left, or a person has removed it", () => {
    expect(movesOf(sight([member("a", "joined")], {}, { desired: 1 }))).toEqual({ a: "removing" });
  });

  it("leaves before it is removed, and keeps what it has to the end", () => {
    expect(movesOf(sight([member("a", "joined")], { a: { holds: 1 } }))).toEqual({ a: "leaving" });
    expect(movesOf(sight([member("a", "leaving")], { a: { holds: 1 } }))).toEqual({});
    expect(movesOf(sight([member("a", "leaving")], { a: { holds: 0 } }))).toEqual({ a: "removing" });
  });

  it("is gone only when it was removed, is not named any more and is not heard", () => {
    const removed = sight([member("a", "removing")], {}, { listed: new Set(), isRemoved: () => true });
    expect(nextSteps(removed).gone).toEqual(["a"]);
    expect(nextSteps({ ...removed, isRemoved: () => false }).gone).toEqual([]);
    expect(nextSteps({ ...removed, listed: new Set(["a"]) }).gone).toEqual([]);
    expect(nextSteps({ ...removed, listed: undefined }).gone).toEqual([]);
    expect(nextSteps({ ...removed, agent: () => idle }).gone).toEqual([]);
  });
});

describe("a pool", () => {
  it("asks for what it lacks, and takes back who is leaving first", () => {
    expect(nextSteps(sight([], {}, { desired: 3 })).add).toBe(3);
    const back = sight([member("a", "leaving")], { a: { holds: 1 } }, { desired: 3 });
    expect(nextSteps(back)).toMatchObject({ moves: [{ id: "a", state: "joined" }], add: 2 });
  });

  it("replaces who has gone only when the work asks for it, and keeps who is there until nobody has for long", () => {
    const kept = sight([member("a", "joined")], { a: {} }, { needed: 1, desired: 3 });
    expect(nextSteps(kept)).toEqual({ moves: [], gone: [], add: 0, failures: [] });
    expect(nextSteps({ ...kept, needed: 0 })).toEqual({ moves: [], gone: [], add: 0, failures: [] });
    expect(nextSteps({ ...kept, needed: 3 }).add).toBe(2);
  });

  it("counts who is on the way out into its greatest size", () => {
    const full = sight([member("a", "removing"), member("b", "joined")], { b: {} }, { desired: 2, max: 2 });
    expect(nextSteps(full).add).toBe(0);
  });

  it("gives up first who takes nothing, then who has not joined, then who holds the least", () => {
    const members = [member("a", "joined"), member("b", "joined"), member("c", "asked"), member("d", "joined")];
    const agents = { a: { holds: 2 }, b: { isDraining: true }, d: { holds: 1 } };
    const order = [3, 2, 1, 0].map((desired) => Object.keys(movesOf(sight(members, agents, { desired }))).sort());
    expect(order).toEqual([["b"], ["b", "c"], ["b", "c", "d"], ["a", "b", "c", "d"]]);
  });

  it("replaces an agent that a person drains", () => {
    const drained = sight([member("a", "joined")], { a: { isDraining: true, holds: 1 } }, { desired: 1 });
    expect(nextSteps(drained)).toMatchObject({ moves: [], add: 1 });
  });

  it("leaves a busy ephemeral agent alone: it goes by itself", () => {
    const busy = sight([member("a", "joined")], { a: { holds: 1 } }, { ephemeral: true });
    expect(movesOf(busy)).toEqual({});
    expect(movesOf(sight([member("a", "joined")], { a: {} }, { ephemeral: true }))).toEqual({ a: "leaving" });
  });

  const anyMember = fc.record({
    state: fc.constantFrom<MemberState>("asked", "joined", "leaving", "removing"),
    agent: fc.option(
      fc.record({ isHeard: fc.boolean(), isDraining: fc.boolean(), silentMs: fc.nat(100_000), holds: fc.nat(2) }),
      { nil: undefined },
    ),
    isListed: fc.boolean(),
  });

  it("never asks for more than its greatest size, never removes one that holds something, and comes to rest", () => {
    const pools = fc.record({
      members: fc.array(anyMember, { maxLength: 12 }),
      desired: fc.nat(10),
      more: fc.nat(4),
      ephemeral: fc.boolean(),
    });
    fc.assert(
      fc.property(pools, ({ members: drawn, desired, more, ephemeral }) => {
        const members = drawn.map(({ state }, index) => member(`m${index}`, state));
        const agents = new Map(drawn.map(({ agent }, index) => [`m${index}`, agent]));
        const pool = sight(
          members,
          {},
          {
            ...{ needed: Math.max(0, desired - more), desired, max: desired + more, ephemeral },
            agent: (id) => agents.get(id),
            listed: new Set(members.filter((_, index) => drawn[index]?.isListed).map(({ id }) => id)),
          },
        );
        const steps = nextSteps(pool);
        expect(steps.add === 0 || members.length - steps.gone.length + steps.add <= pool.max).toBe(true);
        for (const { id, state } of steps.moves) {
          const agent = agents.get(id);
          if (state === "removing") expect(agent?.isHeard === true && agent.holds > 0).toBe(false);
        }
        // What follows from the same sight once more: nothing turns back.
        const moved = new Map(steps.moves.map((one) => [one.id, one]));
        const next = nextSteps({ ...pool, members: members.map((one) => moved.get(one.id) ?? one) });
        const returned = next.moves.filter((one) =>
          members.some(({ id, state }) => id === one.id && state === one.state),
        );
        expect(returned.filter(({ id }) => moved.has(id))).toEqual([]);
      }),
      { numRuns: runs(500) },
    );
  });
});
