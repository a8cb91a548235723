import type { ConcurrencyGroup } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { runName } from "../run/runs.ts";
import { describeGroup } from "./describe.ts";
import { emptyGroup, enqueue, type Group, hold, isEmpty, leave, type Member, settle } from "./group.ts";

/** Somebody's place in a group, or in its line. */
export interface Seat<Run> {
  /** Of the group: its kind, project and name. */
  readonly key: string;
  readonly group: ConcurrencyGroup;
  readonly member: Member;
  readonly run: Run;
  /** `stage/task`; undefined for the run as a whole. */
  readonly task: string | undefined;
}

export interface PlacesDeps<Run> {
  /** It was in the line and has a place now. */
  readonly onTurn: (seat: Seat<Run>) => void;
  readonly onSuperseded: (seat: Seat<Run>, reason: string) => void;
}

/** All concurrency groups, and who is in which. A group is there as long as somebody is in it. */
export interface Places<Run> {
  /** Whether it has a place; who asks for the first time stands in line from then on. */
  ask(seat: Seat<Run>): boolean;
  /** It had a place before a restart (`holds`), or waited for one. Groups are not settled before `settleAll`. */
  takeUp(seat: Seat<Run>, holds: boolean): void;
  settleAll(): void;
  leave(id: string): void;
  /** For a person, why it waits; undefined for who has a place or asked for none. */
  waitOf(id: string): string | undefined;
}

export function places<Run>(deps: PlacesDeps<Run>): Places<Run> {
  const groups = new Map<string, Group>();
  const seats = new Map<string, Seat<Run>>();

  function groupOf({ key }: Seat<Run>): Group {
    const group = groups.get(key) ?? emptyGroup();
    groups.set(key, group);
    return group;
  }

  /** @param asking is not told of its own turn: it hears it as the answer */
  function settleGroup(key: string, group: Group, asking?: string): void {
    const { granted, superseded } = settle(group);
    for (const { member, by, holds } of superseded) {
      const seat = seats.get(member.id);
      if (!holds) seats.delete(member.id);
      if (seat !== undefined) deps.onSuperseded(seat, `superseded by ${runName(by)}`);
    }
    for (const { id } of granted) {
      const seat = seats.get(id);
      if (seat !== undefined && id !== asking) deps.onTurn(seat);
    }
    if (isEmpty(group)) groups.delete(key);
  }

  function takeUp(seat: Seat<Run>, holds: boolean): void {
    seats.set(seat.member.id, seat);
    if (holds) hold(groupOf(seat), seat.member);
    else enqueue(groupOf(seat), seat.member);
  }

  return {
    takeUp,
    ask(seat) {
      const { id } = seat.member;
      const group = groupOf(seat);
      if (!seats.has(id)) {
        takeUp(seat, false);
        settleGroup(seat.key, group, id);
      }
      return group.holders.has(id);
    },
    settleAll() {
      for (const [key, group] of [...groups]) settleGroup(key, group);
    },
    leave(id) {
      const seat = seats.get(id);
      if (seat === undefined) return;
      seats.delete(id);
      const group = groupOf(seat);
      leave(group, seat.member);
      settleGroup(seat.key, group);
    },
    waitOf(id) {
      const seat = seats.get(id);
      if (seat === undefined) return undefined;
      const group = groupOf(seat);
      return group.holders.has(id) ? undefined : describeGroup(seat.group, group, seat.member);
    },
  };
}
