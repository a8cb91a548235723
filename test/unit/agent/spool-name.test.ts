import fc from "fast-check";
import { expect, test } from "vitest";
import { parseSpoolName, spoolName } from "../../../agent/logs/spool-name.ts";

test("a spool file's name tells its attempt, whatever the execution is called", () => {
  const executionId = fc.stringMatching(/^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}$/);
  fc.assert(
    fc.property(executionId, fc.integer({ min: 1, max: 1_000_000 }), (id, attempt) => {
      const key = { executionId: id, attempt };
      expect(parseSpoolName(spoolName(key))).toEqual(key);
    }),
  );
});

test.each(["", "7", "x", "x.", "x.0", "x.-1", "x.1.5x", ".1"])("%j is no name of a spool file", (name) => {
  expect(parseSpoolName(name)).toBeUndefined();
});
