import type { Event } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Clients } from "./coordinator.ts";

/** The first event of a run that fits, from its beginning; throws when the run ends without one. */
export async function eventOf(
  { runs }: Pick<Clients, "runs">,
  run: string,
  fits: (kind: Event["kind"], event: Event) => boolean,
): Promise<Event> {
  const reading = new AbortController();
  try {
    for await (const { event } of runs.watchRun({ run }, { signal: reading.signal })) {
      if (event !== undefined && fits(event.kind, event)) return event;
    }
  } finally {
    reading.abort();
  }
  throw new Error(`${run} ended without such an event`);
}
