import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatDuration, readDuration, readTimeout } from "../../../../shared/pipeline/duration.ts";

describe("a duration", () => {
  it.each([
    ["90s", 90_000],
    ["10m", 600_000],
    ["1h30m", 5_400_000],
    ["1.5h", 5_400_000],
    ["250ms", 250],
    ["2d", 172_800_000],
  ])("%s is %d ms", (text, value) => {
    expect(readDuration(text)).toEqual({ value });
  });

  it.each(["", "10", "m", "-1s", "10 m", "1e3s", "10x", "1h,30m"])("%j is none", (text) => {
    expect(readDuration(text)).toHaveProperty("wrong");
  });

  it("that is written is read back as the same", () => {
    fc.assert(
      fc.property(fc.nat(1_000_000_000), (durationMs) => {
        expect(readDuration(formatDuration(durationMs))).toEqual({ value: durationMs });
      }),
    );
  });

  it("as a time-out is neither nothing nor too long", () => {
    expect(readTimeout("0s")).toEqual({ wrong: "must be longer than 0", hint: expect.any(String) });
    expect(readTimeout("24h")).toEqual({ value: 86_400_000 });
    expect(readTimeout("24h1ms")).toHaveProperty("wrong");
  });
});
