import fc from "fast-check";
import picomatch from "picomatch";
import { describe, expect, it } from "vitest";
import { limits } from "../../../../shared/limits.ts";
import { type GlobBudget, globMatches, globPath, readGlob } from "../../../../shared/pipeline/glob.ts";
import { runs } from "../../../support/property-runs.ts";

function matches(pattern: string, path: string, budget: GlobBudget = { steps: limits.globSteps }): boolean {
  const reading = readGlob(pattern);
  if ("wrong" in reading) throw new Error(reading.wrong);
  return reading.value.alternatives.some((alternative) => globMatches(alternative, globPath(path), budget));
}

function wrong(pattern: string): string | undefined {
  const reading = readGlob(pattern);
  return "wrong" in reading ? reading.wrong : undefined;
}

const options = { dot: true, nonegate: true, noextglob: true };

describe("an input glob", () => {
  it.each([
    ["src/a.js", "src/a.js", true],
    ["./src/a.js", "src/a.js", true],
    ["src/a.js", "src/a.jsx", false],
    ["src/", "src/a/b/c", true],
    ["src/", "src2/a", false],
    ["src/", "src", false],
    ["src/**", "src", false],
    ["src/**", "src/.hidden/x", true],
    ["**/*.js", "a.js", true],
    ["**/*.js", "a/b/c.js", true],
    ["*.js", "a/b.js", false],
    ["a/**/z", "a/z", true],
    ["a/**/b/**/z", "a/b/x/b/y/z", true],
    ["*", ".env", true],
    ["a?c", "abc", true],
    ["a?c", "a😀c", true],
    ["[a-c]x", "bx", true],
    ["[!a-c]x", "bx", false],
    ["[a-]x", "-x", true],
    ["{src,test/unit}/**/*.{ts,js}", "test/unit/deep/x.ts", true],
    ["{a,b{c,d}}", "bd", true],
    ["{a}", "{a}", true],
    ["app/\\[id\\]/page", "app/[id]/page", true],
    ["**", "anything/at/all", true],
  ])("%s on %s: %s", (pattern, path, expected) => {
    expect(matches(pattern, path)).toBe(expected);
  });

  it.each([
    ["", "is empty"],
    ["!", "is empty"],
    ["/a", "absolute"],
    ["a/../b", "leaves"],
    ["{a,..}/b", "leaves"],
    ["{,x}/b", "absolute"],
    ["a\\", "end"],
    ["[a", "without its ]"],
    [`${"{a,b}".repeat(7)}`, "alternatives"],
    ["a".repeat(limits.globChars + 1), "too long"],
  ])("%j is refused", (pattern, reason) => {
    expect(wrong(pattern)).toContain(reason);
  });

  it("means what picomatch means by it", () => {
    const piece = fc.constantFrom("a", "b", "*", "?", "[ab]", "[^a]", "x.js", "**", "{a,b}", "{a,b/x.js}");
    const component = fc.oneof(
      fc.constantFrom("**", "*", "a", "*.js"),
      fc.array(piece, { minLength: 1, maxLength: 3 }).map((p) => p.join("")),
    );
    const pattern = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
    const name = fc.constantFrom("a", "b", "ab", "x.js", "ax.js", "c", "bb");
    const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join("/"));
    fc.assert(
      fc.property(pattern, path, (glob, file) => {
        // Every brace of the pieces doubles the alternatives; more than the limit is refused, see above.
        fc.pre(2 ** glob.split("{").slice(1).length <= limits.globAlternatives);
        // `**` inside a component is a single star to us; picomatch has several readings of it. Names with a dot in front
        // are left to the examples above: picomatch treats them differently per kind of wildcard.
        fc.pre(!/[^/]\*\*|\*\*[^/]/.test(glob));
        // It lets `a/**` match `a`, but `*/**` not; to us neither does.
        fc.pre(!(glob.endsWith("/**") && picomatch(glob.slice(0, -3), options)(file)));
        expect(matches(glob, file)).toBe(picomatch(glob, options)(file));
      }),
      { numRuns: runs(5_000) },
    );
  });

  it("cannot make matching explode: hostile patterns cost at most pattern times path", () => {
    const budget = { steps: limits.globSteps };
    expect(matches(`${"*a".repeat(120)}b`, "a".repeat(255), budget)).toBe(false);
    expect(matches(`${"**/*a*/".repeat(60)}b`, `${"a".repeat(31)}/`.repeat(127), budget)).toBe(false);
    expect(limits.globSteps - budget.steps).toBeLessThan(5_000_000);
  });

  it("stops when the budget is used up", () => {
    const budget = { steps: 10 };
    expect(matches("*a*a*a*a*b", "a".repeat(100), budget)).toBe(false);
    expect(budget.steps).toBeLessThan(0);
  });
});
