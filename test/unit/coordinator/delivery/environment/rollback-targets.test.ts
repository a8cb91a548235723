import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { rollbackTargets } from "../../../../../coordinator/delivery/environment/rollback-targets.ts";
import { type Event, EventSchema } from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { digestToMessage } from "../../../../../shared/digest.ts";
import { limits } from "../../../../../shared/limits.ts";
import { textBlob } from "../../../../support/blobs.ts";

const release = (name: string) => textBlob(name).digest;

/** A deployment that put `current` in place, or went back to it. */
function deployed(run: string, app: string, current: string | undefined, wentBack = false): Event {
  const outcome = {
    ...{ environment: "production", app, wentBack, healthy: true },
    ...(current === undefined ? {} : { current: digestToMessage(release(current)) }),
  };
  return create(EventSchema, {
    kind: { case: "environmentDeployed", value: { run, task: "s/t", executionId: `${run}.s.t`, outcome } },
  });
}

test("what is in place is needed, and as many releases before it as the host keeps", () => {
  const events = [1, 2, 3, 4, 5, 6].map((n) => deployed(`run_${n}`, "shop", `release ${n}`));
  const { runs, releases } = rollbackTargets(events);
  expect(runs).toEqual(["run_3", "run_4", "run_5", "run_6"]);
  expect(releases).toEqual([3, 4, 5, 6].map((n) => release(`release ${n}`)));
  expect(runs).toHaveLength(limits.releasesKept + 1);
});

test("a release that is deployed again is the newest again, by the run that brought it", () => {
  const events = [deployed("run_1", "shop", "a"), deployed("run_2", "shop", "b"), deployed("run_3", "shop", "a")];
  expect(rollbackTargets(events).runs).toEqual(["run_2", "run_3"]);
});

test("a run whose release went back leaves in place what an earlier one brought", () => {
  const events = [deployed("run_1", "shop", "a"), deployed("run_2", "shop", "a", true)];
  expect(rollbackTargets(events)).toEqual({ runs: ["run_1"], releases: [release("a")] });
});

test("each app has its own, and one with nothing in place needs nothing", () => {
  const events = [deployed("run_1", "shop", "a"), deployed("run_2", "desk", "b"), deployed("run_3", "none", undefined)];
  expect(rollbackTargets(events).runs).toEqual(["run_1", "run_2"]);
});
