import fc from "fast-check";
import { expect, test } from "vitest";
import {
  emptyGroup,
  enqueue,
  type Group,
  hold,
  isEmpty,
  leave,
  type Member,
  type Settled,
  settle,
} from "../../../../../coordinator/delivery/concurrency/group.ts";

function member(run: number, extra: Partial<Member> = {}): Member {
  return { id: `run_${run}`, run, askedMs: run * 10, ordinal: 0, limit: 1, supersedes: false, ...extra };
}

function ask(group: Group, one: Member): Settled {
  enqueue(group, one);
  return settle(group);
}

function end(group: Group, one: Member): Settled {
  leave(group, one);
  return settle(group);
}

const ids = (members: readonly Member[]) => members.map(({ id }) => id);

test("the first has the place, the others have it in the order in which they asked", () => {
  const group = emptyGroup();
  expect(ids(ask(group, member(1)).granted)).toEqual(["run_1"]);
  expect(ids(ask(group, member(3, { askedMs: 20 })).granted)).toEqual([]);
  expect(ids(ask(group, member(2, { askedMs: 30 })).granted)).toEqual([]);
  expect(ids(end(group, member(1)).granted)).toEqual(["run_3"]);
  expect(ids(end(group, member(3, { askedMs: 20 })).granted)).toEqual(["run_2"]);
  end(group, member(2, { askedMs: 30 }));
  expect(isEmpty(group)).toBe(true);
});

test("as many hold a place as the limit says, and who waits no more lets the next one have its turn", () => {
  const group = emptyGroup();
  const [a, b, c, d] = [1, 2, 3, 4].map((run) => member(run, { limit: 2 })) as [Member, Member, Member, Member];
  expect([a, b, c, d].flatMap((one) => ids(ask(group, one).granted))).toEqual(["run_1", "run_2"]);
  end(group, c);
  expect(ids(end(group, a).granted)).toEqual(["run_4"]);
});

test("a newer one that supersedes ends what waits, has what runs stopped, and waits until it has", () => {
  const group = emptyGroup();
  ask(group, member(1));
  ask(group, member(2));
  const { granted, superseded } = ask(group, member(3, { supersedes: true }));
  expect(granted).toEqual([]);
  expect(superseded).toEqual([
    { member: member(2), by: 3, holds: false },
    { member: member(1), by: 3, holds: true },
  ]);
  expect(settle(group)).toEqual({ granted: [], superseded: [] });
  expect(ids(end(group, member(1)).granted)).toEqual(["run_3"]);
});

test("an older run that comes late gives way to the newer one that is there", () => {
  const group = emptyGroup();
  ask(group, member(5, { supersedes: true }));
  const late = member(4, { askedMs: 99, supersedes: true });
  expect(ask(group, late).superseded).toEqual([{ member: late, by: 5, holds: false }]);
  expect(ids([...group.holders.values()].map((holder) => holder.member))).toEqual(["run_5"]);
});

test("members of one run wait for each other", () => {
  const group = emptyGroup();
  const [a, b] = ["run_1 s/a", "run_1 s/b"].map((id) => member(1, { id, supersedes: true })) as [Member, Member];
  expect(ids(ask(group, a).granted)).toEqual(["run_1 s/a"]);
  expect(ask(group, b)).toEqual({ granted: [], superseded: [] });
  expect(ids(end(group, a).granted)).toEqual(["run_1 s/b"]);
});

test("with room for more than one, only as many are stopped as places are wanted, the oldest first", () => {
  const group = emptyGroup();
  for (const run of [1, 2, 3]) ask(group, member(run, { limit: 3 }));
  const newcomers = ["a", "b"].map((name, ordinal) =>
    member(4, { id: `run_4 ${name}`, ordinal, limit: 3, supersedes: true }),
  );
  for (const one of newcomers) enqueue(group, one);
  expect(settle(group).superseded.map(({ member }) => member.id)).toEqual(["run_1", "run_2"]);
});

interface Step {
  readonly kind: "ask" | "leave";
  readonly pick: number;
  readonly run: number;
  readonly supersedes: boolean;
}

const steps = fc.array(
  fc.record({
    kind: fc.constantFrom<Step["kind"]>("ask", "ask", "leave"),
    pick: fc.nat(),
    run: fc.integer({ min: 1, max: 6 }),
    supersedes: fc.boolean(),
  }),
  { maxLength: 60 },
);

/** Plays a story; gives every member with what became of it. */
function play(group: Group, limit: number, story: readonly Step[], canSupersede: boolean) {
  const inside = new Map<string, Member>();
  const granted: Member[] = [];
  const superseded = new Set<string>();
  const settled = ({ granted: now, superseded: gone }: Settled) => {
    granted.push(...now);
    for (const { member, holds } of gone) {
      superseded.add(member.id);
      if (!holds) inside.delete(member.id);
    }
  };
  let asked = 0;
  for (const { kind, pick, run, supersedes } of story) {
    if (kind === "ask") {
      asked += 1;
      const one: Member = {
        ...{ id: `run_${run} s/t${asked}`, run, askedMs: Math.floor(asked / 3), ordinal: asked, limit },
        supersedes: supersedes && canSupersede,
      };
      inside.set(one.id, one);
      settled(ask(group, one));
    } else {
      const one = [...inside.values()][pick % Math.max(1, inside.size)];
      if (one === undefined) continue;
      inside.delete(one.id);
      settled(end(group, one));
    }
    expect(group.holders.size).toBeLessThanOrEqual(limit);
    expect(new Set([...group.holders.keys(), ...ids(group.waiting)])).toEqual(new Set(inside.keys()));
  }
  return { inside, granted, superseded };
}

test("never more hold a place than the limit, and none is forgotten", () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 3 }), (story, limit) => {
      const group = emptyGroup();
      const { inside, superseded } = play(group, limit, story, true);
      for (let ended = 0; group.holders.size > 0; ended += 1) {
        expect(ended).toBeLessThan(100);
        const [holder] = group.holders.values();
        if (holder === undefined) break;
        inside.delete(holder.member.id);
        for (const { member, holds } of end(group, holder.member).superseded) {
          superseded.add(member.id);
          if (!holds) inside.delete(member.id);
        }
      }
      expect(inside.size).toBe(0);
      expect(isEmpty(group)).toBe(true);
      expect(group.superseding).toBe(0);
    }),
  );
});

test("places go to those that asked first, and none stays free while somebody waits", () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 3 }), (story, limit) => {
      const group = emptyGroup();
      const line = new Map<string, Member>();
      const check = ({ granted }: Settled) => {
        const byAsking = [...line.values()].sort(
          (a, b) => a.askedMs - b.askedMs || a.run - b.run || a.ordinal - b.ordinal,
        );
        expect(ids(granted)).toEqual(ids(byAsking).slice(0, granted.length));
        for (const { id } of granted) line.delete(id);
        expect(group.holders.size === limit || line.size === 0).toBe(true);
      };
      const everybody: Member[] = [];
      for (const [index, { kind, pick, run }] of story.entries()) {
        const chosen = everybody[pick % Math.max(1, everybody.length)];
        if (kind === "leave" && chosen !== undefined) {
          line.delete(chosen.id);
          check(end(group, chosen));
        } else {
          const one = member(run, { id: `t${index}`, askedMs: pick % 5, ordinal: index, limit });
          everybody.push(one);
          line.set(one.id, one);
          check(ask(group, one));
        }
      }
    }),
  );
});

test("after a restart, what has to give way is told so again", () => {
  const group = emptyGroup();
  hold(group, member(1));
  enqueue(group, member(2, { supersedes: true }));
  expect(settle(group).superseded).toEqual([{ member: member(1), by: 2, holds: true }]);
});

test("built anew from those that hold and those that wait, a group goes on as before", () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 3 }), fc.boolean(), (story, limit, canSupersede) => {
      const before = emptyGroup();
      play(before, limit, story, canSupersede);
      const after = emptyGroup();
      for (const { member } of before.holders.values()) hold(after, member);
      for (const one of before.waiting.toReversed()) enqueue(after, one);
      expect(settle(after).granted).toEqual([]);
      expect(ids(after.waiting)).toEqual(ids(before.waiting));
      expect([...after.holders.keys()].sort()).toEqual([...before.holders.keys()].sort());
      // Who was told to stop and is wanted away no more goes on.
      expect(stopping(before)).toEqual(expect.arrayContaining(stopping(after)));
    }),
  );
});

function stopping({ holders }: Group): string[] {
  return [...holders.values()].filter((holder) => holder.stopping).map(({ member: { id } }) => id);
}
