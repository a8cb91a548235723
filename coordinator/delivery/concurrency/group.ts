import { placeInOrder } from "../../../shared/place-in-order.ts";

/** Who asks for a place in a concurrency group: a run, or a task of one. */
export interface Member {
  /** `run_13`, or `run_13 release/deploy`. */
  readonly id: string;
  /** The number of its run; with a greater one it is newer. */
  readonly run: number;
  /** When it asked, in milliseconds since 1970. */
  readonly askedMs: number;
  /** Among those of its run that asked in the same millisecond: its place in the plan. */
  readonly ordinal: number;
  /** How many may hold a place while it does; at least 1. */
  readonly limit: number;
  /** Members of older runs give way to it (CANCEL_SUPERSEDED); without it, it waits for its turn. */
  readonly supersedes: boolean;
}

/** A member that has a place, until it leaves. */
interface Holder {
  readonly member: Member;
  /** It was told to end, and holds its place until it has. */
  stopping: boolean;
}

/**
 * A concurrency group. Changed in place, for it may have as many members as a run has tasks. A member
 *
 *     waits → holds → (is told to stop →) has left
 *       +→ is superseded        +→ has left (cancelled, say)
 *
 * Nothing in it depends on the order of calls but on what members say of themselves, so that it can be built anew from the
 * log after a restart.
 */
export interface Group {
  readonly holders: Map<string, Holder>;
  /** In the order in which they asked. */
  readonly waiting: Member[];
  /** How many of those that wait supersede others. */
  superseding: number;
}

/** A member that gives way. */
export interface Superseded {
  readonly member: Member;
  /** The number of the run that it gives way to. */
  readonly by: number;
  /** It has a place, and keeps it until it has left; otherwise it waits no more. */
  readonly holds: boolean;
}

/** What came of a group when it was settled. */
export interface Settled {
  readonly granted: readonly Member[];
  readonly superseded: readonly Superseded[];
}

export function emptyGroup(): Group {
  return { holders: new Map(), waiting: [], superseding: 0 };
}

/** Puts it into the line; it has no place before the group is settled. */
export function enqueue(group: Group, member: Member): void {
  group.waiting.splice(placeInLine(group.waiting, member), 0, member);
  if (member.supersedes) group.superseding += 1;
}

/** Takes a place without asking: it had one before the coordinator was started again. */
export function hold(group: Group, member: Member): void {
  group.holders.set(member.id, { member, stopping: false });
}

/** Whatever it did in the group, it does no more. */
export function leave(group: Group, member: Member): void {
  if (group.holders.delete(member.id)) return;
  const place = placeInLine(group.waiting, member);
  if (group.waiting[place]?.id !== member.id) return;
  group.waiting.splice(place, 1);
  if (member.supersedes) group.superseding -= 1;
}

export function isEmpty({ holders, waiting }: Group): boolean {
  return holders.size === 0 && waiting.length === 0;
}

/**
 * Gives free places to those that have waited longest, after the older members have given way to the newest one that
 * supersedes. Nobody passes the first of the line, whose own limit counts. To settle twice changes nothing.
 */
export function settle(group: Group): Settled {
  const superseded = group.superseding === 0 ? [] : supersede(group);
  const granted: Member[] = [];
  for (;;) {
    const [next] = group.waiting;
    if (next === undefined || group.holders.size >= next.limit) return { granted, superseded };
    leave(group, next);
    hold(group, next);
    granted.push(next);
  }
}

/**
 * Runs count, and not who asked when: a run that was slow on its way to the group does not end what a newer one does there.
 * Members of one run never supersede each other.
 */
function supersede(group: Group): Superseded[] {
  const asking = group.waiting.filter((member) => member.supersedes);
  const newest = asking.reduce<Member | undefined>(
    (best, one) => (best === undefined || one.run > best.run ? one : best),
    undefined,
  );
  if (newest === undefined) return [];
  const outdated = group.waiting.filter(({ run }) => run < newest.run);
  const superseded = outdated.map((member): Superseded => ({ member, by: newest.run, holds: false }));

  const live = [...group.holders.values()].filter(({ stopping }) => !stopping);
  const newcomers = asking.filter(({ run }) => run === newest.run);
  const [first] = live;
  if (first !== undefined && live.length >= newest.limit && live.every(({ member }) => member.run > newest.run)) {
    const by = live.reduce((run, { member }) => Math.max(run, member.run), first.member.run);
    superseded.push(...newcomers.map((member): Superseded => ({ member, by, holds: false })));
  }
  for (const { member } of superseded) leave(group, member);

  const excess = Math.max(0, newcomers.length - (newest.limit - live.length));
  const older = live.filter(({ member }) => member.run < newest.run).sort((a, b) => inOrder(a.member, b.member));
  for (const holder of older.sort((a, b) => a.member.run - b.member.run).slice(0, excess)) {
    holder.stopping = true;
    superseded.push({ member: holder.member, by: newest.run, holds: true });
  }
  return superseded;
}

/** Where it stands in a line, or would stand, from 0. */
export function placeInLine(line: readonly Member[], member: Member): number {
  return placeInOrder(line, (other) => inOrder(other, member) < 0);
}

/** The same after a restart: by the time that the log has, then by run and plan. */
function inOrder(a: Member, b: Member): number {
  return a.askedMs - b.askedMs || a.run - b.run || a.ordinal - b.ordinal;
}
