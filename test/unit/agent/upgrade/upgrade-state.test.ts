import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  advance,
  type OfferedProgram,
  type UpgradeEvent,
  type UpgradeState,
} from "../../../../agent/upgrade/upgrade-state.ts";

const own = "1.2.3";
const start: UpgradeState = { kind: "current", failed: undefined };

/** A few programs that come again and again, so that sequences meet the same one twice. */
const program: fc.Arbitrary<OfferedProgram> = fc.record({
  version: fc.constantFrom("1.2.2", "1.2.3", "1.2.4", "1.3.0", "0.9.9", "2.0.0", "no version"),
  sha256: fc.constantFrom("a", "b", "c"),
  sizeBytes: fc.constant(1),
});

const event: fc.Arbitrary<UpgradeEvent> = fc.oneof(
  { weight: 4, arbitrary: program.map((one) => ({ kind: "offered" as const, program: one })) },
  { weight: 3, arbitrary: fc.constant({ kind: "fetched" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "lost" as const }) },
  { weight: 3, arbitrary: fc.constant({ kind: "drained" as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: "joined" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "late" as const }) },
  { weight: 2, arbitrary: fc.string().map((reason) => ({ kind: "failed" as const, reason })) },
  { weight: 1, arbitrary: fc.constant({ kind: "ending" as const }) },
);

/** All states on the way, with the event that led there. */
function walk(events: readonly UpgradeEvent[]) {
  let state: UpgradeState = start;
  return events.map((one) => {
    const before = state;
    state = advance(state, one, own);
    return { before, event: one, state };
  });
}

const steps = fc.array(event, { maxLength: 40 }).map(walk);

describe("an upgrade", () => {
  test("goes from an offer to the new program, one step after the other", () => {
    const offered: OfferedProgram = { version: "1.3.0", sha256: "a", sizeBytes: 1 };
    const kinds = walk([
      { kind: "offered", program: offered },
      { kind: "fetched" },
      { kind: "drained" },
      { kind: "joined" },
    ]).map(({ state }) => state.kind);
    expect(kinds).toEqual(["fetching", "draining", "trying", "taken"]);
  });

  test("takes a program only when that very program was fetched, tried and has joined", () => {
    fc.assert(
      fc.property(steps, (walked) => {
        for (const { before, event: cause, state } of walked) {
          if (state.kind !== "taken" || before.kind === "taken") continue;
          expect([before.kind, cause.kind]).toEqual(["trying", "joined"]);
          expect(before).toMatchObject({ program: state.program });
        }
      }),
    );
  });

  test("never begins with a program that is not newer, or that has failed last", () => {
    fc.assert(
      fc.property(steps, (walked) => {
        for (const { before, state } of walked) {
          if (state.kind !== "fetching" || before.kind !== "current") continue;
          expect(["1.2.4", "1.3.0", "2.0.0"]).toContain(state.program.version);
          expect(state.program.sha256).not.toBe(before.failed?.sha256);
        }
      }),
    );
  });

  test("begins nothing after the agent was told to end, and stays at an end that it has reached", () => {
    fc.assert(
      fc.property(steps, (walked) => {
        const ends = walked.filter(({ state }) => ["taken", "kept", "postponed", "over"].includes(state.kind));
        const [first] = ends;
        for (const { state } of ends) expect(state).toEqual(first?.state);
        const told = walked.findIndex(({ event: cause }) => cause.kind === "ending");
        if (told !== -1) expect(["taken", "kept", "postponed", "over"]).toContain(walked[told]?.state.kind);
      }),
    );
  });

  test("does not stop the agent's work before the program is there and runs", () => {
    fc.assert(
      fc.property(steps, (walked) => {
        for (const { before, event: cause, state } of walked) {
          if (state.kind === "draining" && before.kind !== "draining") expect(cause.kind).toBe("fetched");
        }
      }),
    );
  });

  test("tries another of the same version after one has failed", () => {
    const offer = (sha256: string): UpgradeEvent => ({
      kind: "offered",
      program: { version: "1.3.0", sha256, sizeBytes: 1 },
    });
    const walked = walk([offer("a"), { kind: "failed", reason: "no" }, offer("a"), offer("b")]);
    expect(walked.map(({ state }) => state.kind)).toEqual(["fetching", "current", "current", "fetching"]);
  });
});
