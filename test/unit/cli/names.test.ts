import { describe, expect, it } from "vitest";
import { parseRunName } from "../../../cli/run-name.ts";
import { parseSince } from "../../../cli/since.ts";

describe("a run's name", () => {
  it("may be given as number or as name", () => {
    expect(parseRunName("12")).toBe("run_12");
    expect(parseRunName("run_12")).toBe("run_12");
  });

  it.each(["", "0", "run_", "run_01", "-1", "1.5", "../1", "run_1 "])("is refused when it is %j", (text) => {
    expect(() => parseRunName(text)).toThrow(/is not a run/);
  });
});

describe("--since", () => {
  const nowMs = Date.UTC(2026, 0, 2, 12);

  it("takes durations and times", () => {
    expect(parseSince("90s", nowMs)).toBe(nowMs - 90_000);
    expect(parseSince("2h", nowMs)).toBe(nowMs - 7_200_000);
    expect(parseSince("2026-01-02T11:00:00Z", nowMs)).toBe(nowMs - 3_600_000);
  });

  it.each(["", "5", "m", "5 m", "yesterday", "2026-99-99"])("refuses %j", (text) => {
    expect(parseSince(text, nowMs)).toBeUndefined();
  });
});
