import type { Commit, Event } from "../../proto/gen/millrace/v1/event_pb.ts";

/**
 * What lifts an event from each form to the one after it: the first lifts form 0 to form 1. A form that was ever written
 * stays readable, so this list only grows at its end. A step changes what it is given, which is nobody else's yet, and
 * nothing but that: it knows no other event, no clock and no store.
 *
 * A field that is only added, with a zero that means what was meant before, needs no step.
 */
const steps: readonly ((event: Event) => void)[] = [numberTries];

/** The form in which events are written. */
export const eventVersion = steps.length;

/** Lifts what was read to the newest form. What a newer version of the coordinator wrote stays as it is. */
export function upcast(commit: Commit): Commit {
  for (const event of commit.events) {
    for (const step of steps.slice(event.version)) step(event);
    event.version = Math.max(event.version, eventVersion);
  }
  return commit;
}

/** 0 → 1: before tasks could be tried again, each had one try, which no event numbered. */
function numberTries({ kind }: Event): void {
  if (kind.case === "taskStarted" || kind.case === "taskFinished") kind.value.try ||= 1;
}
