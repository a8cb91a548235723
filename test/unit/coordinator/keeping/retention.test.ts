import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { RetentionPolicy } from "../../../../coordinator/delivery/project/retention.ts";
import {
  cachedRank,
  cutOff,
  keptRank,
  neededRank,
  unusedBeforeMs,
} from "../../../../coordinator/keeping/garbage/rank.ts";
import { chooseByAge, type RunAge } from "../../../../coordinator/keeping/garbage/retention.ts";
import { excessBytes } from "../../../../coordinator/keeping/garbage/store-bounds.ts";

const all: RetentionPolicy = { runsMax: Infinity, runAgeMs: Infinity, logAgeMs: Infinity, artifactAgeMs: Infinity };
const day = 24 * 60 * 60 * 1000;
const now = 1_000 * day;

/** Newest first, one a day. */
function runsOf(...marks: ("running" | "pinned" | "done")[]): RunAge[] {
  return marks.map((mark, index) => ({
    run: `run_${marks.length - index}`,
    project: "default",
    finishedMs: mark === "running" ? undefined : now - index * day,
    pinned: mark === "pinned",
  }));
}
const names = (runs: readonly RunAge[]) => runs.map(({ run }) => run);
const choose = (runs: readonly RunAge[], policy: Partial<RetentionPolicy>) =>
  chooseByAge(runs, () => ({ ...all, ...policy }), now);

describe("retention", () => {
  test("keeps everything where nothing is bounded", () => {
    const { expired, logsExpired, artifactsKept } = choose(runsOf("done", "done", "pinned"), {});
    expect([names(expired), names(logsExpired), names(artifactsKept)]).toEqual([[], [], ["run_3", "run_2", "run_1"]]);
  });

  test("goes by count and by age, and passes over what is pinned or goes on", () => {
    const runs = runsOf("done", "running", "done", "pinned", "done", "done");
    expect(names(choose(runs, { runsMax: 2 }).expired)).toEqual(["run_2", "run_1"]);
    expect(names(choose(runs, { runAgeMs: 1.5 * day }).expired)).toEqual(["run_4", "run_2", "run_1"]);
  });

  test("keeps the newest run, whose number the next one follows from", () => {
    expect(names(choose(runsOf("done", "done"), { runsMax: 0, runAgeMs: 0 }).expired)).toEqual(["run_1"]);
  });

  test("lets logs and artifacts go before their run", () => {
    const { expired, logsExpired, artifactsKept } = choose(runsOf("done", "done", "done", "pinned"), {
      ...{ logAgeMs: 1.5 * day, artifactAgeMs: 0.5 * day },
    });
    expect([names(expired), names(logsExpired), names(artifactsKept)]).toEqual([[], ["run_2"], ["run_4", "run_1"]]);
  });

  test("counts each project by itself, by its own policy", () => {
    const runs = runsOf("done", "done", "done", "done").map((run, index) => ({
      ...run,
      project: index % 2 ? "b" : "a",
    }));
    const { expired } = chooseByAge(runs, (project) => ({ ...all, runsMax: project === "a" ? 1 : 2 }), now);
    expect(names(expired)).toEqual(["run_2"]);
  });

  test("never chooses a pinned, unfinished or newest run, whatever the settings", () => {
    const mark = fc.constantFrom("running" as const, "pinned" as const, "done" as const);
    fc.assert(
      fc.property(fc.array(mark, { minLength: 1 }), fc.nat(20), fc.nat(20), (marks, runsMax, days) => {
        const runs = runsOf(...marks);
        const { expired } = choose(runs, { runsMax, runAgeMs: days * day });
        expect(expired).not.toContain(runs[0]);
        for (const { pinned, finishedMs } of expired)
          expect([pinned, finishedMs === undefined]).toEqual([false, false]);
      }),
    );
  });
});

describe("the worth of blobs", () => {
  test("cached results come before artifacts, older before younger, and what is needed comes last", () => {
    const ranks = [cachedRank(0), cachedRank(now), cachedRank(now + day), keptRank(0), keptRank(now), neededRank];
    expect(ranks).toEqual([...ranks].sort((a, b) => a - b));
    expect(new Set(ranks).size).toBe(ranks.length);
  });

  test("a cached result is removed with exactly the blobs of no greater rank", () => {
    fc.assert(
      fc.property(fc.nat(4 * now), fc.nat(4 * now), (usedAtMs, cutMs) => {
        const cut = cachedRank(cutMs);
        expect(usedAtMs < unusedBeforeMs(cut)).toBe(cachedRank(usedAtMs) <= cut);
      }),
    );
  });

  test("no more goes than is wanted, to a rank; what is needed never does", () => {
    const bytes = new Map([
      [neededRank, 1_000],
      [3, 10],
      [1, 10],
      [2, 10],
    ]);
    expect([1, 10, 11, 30, 5_000].map((wanted) => cutOff(bytes, wanted))).toEqual([1, 1, 2, 3, 3]);
    expect(cutOff(new Map([[neededRank, 5]]), 1)).toBeUndefined();
  });
});

test("a store has too much above its high mark, and where its disk has too little left", () => {
  const plenty = { freeBytes: 1e12, sizeBytes: 2e12 };
  expect(excessBytes({ storeBytes: 950, disk: plenty }, 1_000)).toBe(0);
  expect(excessBytes({ storeBytes: 960, disk: plenty }, 1_000)).toBe(160);
  expect(excessBytes({ storeBytes: 1e12, disk: plenty }, Infinity)).toBe(0);
  const little = { freeBytes: 1e6, sizeBytes: 1e9 };
  expect(excessBytes({ storeBytes: 0, disk: little }, Infinity)).toBe(5e7 * 1.25 - 1e6);
});
