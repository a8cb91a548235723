import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import type { ProjectRetention } from "../../../proto/gen/millrace/v1/event_pb.ts";

/** For how long what runs made is kept, in milliseconds; `Infinity` is without a bound. */
export interface KeptFor {
  readonly runsMax: number;
  readonly runAgeMs: number;
  readonly logAgeMs: number;
  readonly artifactAgeMs: number;
}

/** What a project says of its own, and for the rest what the coordinator was told. */
export function retentionOf(own: ProjectRetention | undefined, common: KeptFor): KeptFor {
  const ms = (duration: Duration | undefined, otherwise: number) =>
    duration === undefined ? otherwise : durationMs(duration);
  return {
    runsMax: own?.runsMax ?? common.runsMax,
    runAgeMs: ms(own?.runAge, common.runAgeMs),
    logAgeMs: ms(own?.logAge, common.logAgeMs),
    artifactAgeMs: ms(own?.artifactAge, common.artifactAgeMs),
  };
}
