import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { limits } from "../../../../shared/limits.ts";
import { celText, readExpression, type Variables } from "../../../../shared/pipeline/cel-expression.ts";

const variables: Variables = {
  params: new Map<string, string | bigint | boolean>([
    ["level", "full"],
    ["count", 3n],
    ["deep", true],
  ]),
  branch: "release/1.2",
};

function evaluated(text: string, changed: (patterns: readonly string[]) => boolean = () => true): unknown {
  const reading = readExpression(text);
  const result = "wrong" in reading ? reading : reading.value.evaluate(variables, changed);
  return "wrong" in result
    ? `${result.wrong}${result.hint === undefined ? "" : ` (${result.hint})`}`
    : celText(result.value);
}

describe("an expression", () => {
  it.each([
    ["params.level == 'full' && params.count >= 3", "true"],
    ["params.deep ? 'yes' : 'no'", "yes"],
    ["params.count + 1", "4"],
    ["branch.matches('^release/[0-9.]+$')", "true"],
    ["['main', 'next'].exists(b, b == branch)", "false"],
    ["has(params.nothing)", "false"],
    ["changed('src/**')", "true"],
    ["changed(['src/**', 'lib/**'])", "true"],
  ])("%s comes to %s", (text, result) => {
    expect(evaluated(text)).toBe(result);
  });

  it("asks for what changed with its patterns", () => {
    expect(evaluated("changed(['a', 'b']) || changed('c')", (patterns) => patterns.join() === "c")).toBe("true");
  });

  it.each([
    ["params.lvel == 'full'", 'speaks of params.lvel, which is not there (did you mean "level"?)'],
    ["brnch == 'main'", 'speaks of "brnch", which is not known here (did you mean "branch"?)'],
    ["matrix.node", 'speaks of "matrix", which is not known here (only a task with a `matrix` has it)'],
    ["params.level > 1", "cannot be evaluated: found no matching overload for '_>_' applied to '(string, int)'"],
    [
      "branch = 'main'",
      "is not an expression: unexpected = at character 8 (expressions are written in CEL: https://cel.dev)",
    ],
    ["fetch('x')", "cannot be evaluated: unbound function: fetch"],
    [" ", "is an empty expression (for example branch == 'main')"],
  ])("%s says what is wrong", (text, wrong) => {
    expect(evaluated(text)).toBe(wrong);
  });
});

/** `[x].map(v0, v0 + v0).map(v1, …)` and the like: each level doubles what it is given. */
function doubling(depth: number): string {
  let text = "branch";
  for (let level = 0; level < depth; level++) text = `[${text}].map(v${level}, v${level} + v${level})[0]`;
  return text;
}

describe("a hostile expression", () => {
  it.each([
    ["doubles a text in nested loops", doubling(25)],
    [
      "nests loops",
      Array.from({ length: 9 }, (_, at) => `[1,2,3,4,5,6,7,8,9].all(a${at}, `).join("") + "true" + ")".repeat(9),
    ],
    ["nests brackets", "(".repeat(490) + "1" + ")".repeat(490)],
    ["nests lists", "[".repeat(490) + "]".repeat(490)],
    ["has a regular expression that others backtrack in", `branch.matches('${"(a*)*".repeat(100)}b')`],
    ["is a long chain", "1".padEnd(999, "+1")],
    ["is longer than may be", "1".padEnd(limits.celChars + 1, "+1")],
  ])("that %s ends within a second, refused or not", (_, text) => {
    const before = process.cpuUsage();
    const long = { branch: "a".repeat(limits.celTextChars) };
    const reading = readExpression(text);
    if ("value" in reading) reading.value.evaluate(long, () => true);
    expect(process.cpuUsage(before).user / 1_000).toBeLessThan(1_000);
  });

  it("is refused before it is evaluated when it could take long", () => {
    expect(evaluated(doubling(25))).toMatch("is an expression that could take too long");
    expect(evaluated(doubling(2))).toBe("release/1.2".repeat(4));
  });

  it("is found out however loops and doublings are put into each other", () => {
    const grown = fc.letrec<{ text: string }>((tie) => ({
      text: fc.oneof(
        { depthSize: "large", withCrossShrink: true },
        fc.constant("branch"),
        fc.constant("'ab'"),
        fc.tuple(tie("text"), tie("text")).map(([a, b]) => `(${a} + ${b})`),
        tie("text").map((a) => `[${a}, 'x', 'y'].map(v, v + v)[0]`),
        fc.tuple(tie("text"), tie("text")).map(([a, b]) => `string([${a}].exists(v, v.contains(${b})))`),
      ),
    })).text;
    fc.assert(
      fc.property(grown, (text) => {
        const reading = readExpression(text);
        if ("wrong" in reading) return;
        const before = process.cpuUsage();
        reading.value.evaluate({ branch: "a".repeat(limits.celTextChars) }, () => true);
        expect(process.cpuUsage(before).user / 1_000).toBeLessThan(1_000);
      }),
    );
  });
});
