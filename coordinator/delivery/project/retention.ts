import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import type { ProjectRetention } from "../../../proto/gen/millrace/v1/event_pb.ts";

/** For how long what runs made is kept. `Infinity` is without a bound. */
export interface RetentionPolicy {
  /** Finished runs of a project; older ones go. */
  readonly runsMax: number;
  /** Since a run has finished. */
  readonly runAgeMs: number;
  /** Its logs; they go with the run at the latest. */
  readonly logAgeMs: number;
  /** Its artifacts, evidence, and logs of cached results: from then on they are worth no more than any other blob. */
  readonly artifactAgeMs: number;
}

/** What a project says of its own, and for the rest what the coordinator was told. */
export function retentionOf(own: ProjectRetention | undefined, common: RetentionPolicy): RetentionPolicy {
  const ms = (duration: Duration | undefined, otherwise: number) =>
    duration === undefined ? otherwise : durationMs(duration);
  return {
    runsMax: own?.runsMax ?? common.runsMax,
    runAgeMs: ms(own?.runAge, common.runAgeMs),
    logAgeMs: ms(own?.logAge, common.logAgeMs),
    artifactAgeMs: ms(own?.artifactAge, common.artifactAgeMs),
  };
}
