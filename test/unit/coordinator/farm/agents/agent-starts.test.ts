import fc from "fast-check";
import { expect, test } from "vitest";
import { type Started, startedNow } from "../../../../../coordinator/farm/agents/agent-starts.ts";
import { limits } from "../../../../../shared/limits.ts";

type Known = Started & { info: { session: string; hostname: string } };

test("a restart takes over at once, and the one it took over from is told by whom", () => {
  const first = startedNow({ id: "a", session: "s1" }, undefined, 1_000);
  const second = startedNow({ id: "a", session: "s2" }, { ...first, info: { session: "s1", hostname: "old" } }, 2_000);
  expect(second).toEqual({ startedMs: 2_000, superseded: ["s1"] });
  const present = { ...second, info: { session: "s2", hostname: "new" } };
  expect(startedNow({ id: "a", session: "s2" }, present, 3_000)).toEqual(second);
  expect(() => startedNow({ id: "a", session: "s1" }, present, 3_000)).toThrow(
    expect.objectContaining({
      code: "already_exists",
      message: expect.stringMatching(/"a": on new, since 1970-01-01T00:00:02.000Z/),
    }),
  );
});

test("of any number of processes with one identity that come back in any order, only the newest stays", () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: limits.supersededSessions }), { minLength: 1, maxLength: 200 }), (order) => {
      let known: Known | undefined;
      const seen = new Set<string>();
      for (const [at, number] of order.entries()) {
        const session = `s${number}`;
        const isNewest = known?.info.session === session;
        const join = () => startedNow({ id: "a", session }, known, at);
        if (seen.has(session) && !isNewest) expect(join).toThrow(expect.objectContaining({ code: "already_exists" }));
        else known = { ...join(), info: { session, hostname: "h" } };
        seen.add(session);
        expect(known?.superseded.length).toBeLessThanOrEqual(limits.supersededSessions);
      }
    }),
  );
});
