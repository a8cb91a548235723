import fc from "fast-check";
import { expect, test } from "vitest";
import { digestOf } from "../../../../shared/digest.ts";
import { buildTree } from "../../../../shared/merkle/build-tree.ts";
import { treeEntries } from "../../../../shared/merkle/load-tree.ts";
import type { TreeEntry } from "../../../../shared/merkle/tree-entry.ts";
import { globMatches, globPath, readGlob } from "../../../../shared/pipeline/glob.ts";
import { sortedByPath } from "../../../../shared/pipeline/path-order.ts";
import { inputSelector } from "../../../../shared/pipeline/select-inputs.ts";

/** Names around `/` in the order of code units, so that ranges of folders are put to the test, and names of globs' own letters. */
const name = fc.constantFrom("a", "a-b", "a.b", "a0", "ab", "b", ".c", "*", "[a]", "é", "😀");
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join("/"));
/** No path lies below another, as in every tree. */
const sources = fc
  .uniqueArray(path, { maxLength: 30 })
  .map((paths) => paths.filter((one) => !paths.some((other) => one.startsWith(`${other}/`))))
  .map((paths) =>
    paths.map((one): TreeEntry => {
      return { path: one, node: { kind: "file", digest: digestOf(Buffer.from(one)), executable: false } };
    }),
  );
const component = fc.oneof(
  name,
  fc.constantFrom("*", "**", "?", "a*", "*b", "[ab]", "[!a]", "{a,b}", "{a,a-b}", "\\*", "{a,b/a}"),
);
const pattern = fc
  .tuple(
    fc.constantFrom("", "", "!"),
    fc.array(component, { minLength: 1, maxLength: 4 }),
    fc.constantFrom("", "", "/"),
  )
  .map(([sign, components, end]) => sign + components.join("/") + end);
const globs = fc.array(pattern, { maxLength: 4 });

/** Every glob held against every path, with no thought of order, ranges or what tasks have in common. */
function naive(source: readonly TreeEntry[], patterns: readonly string[] | undefined) {
  if (patterns === undefined) return { chosen: source, unmatched: new Set<string>() };
  const matching = (text: string) => {
    const reading = readGlob(text.replace(/^!/, ""));
    if (!("value" in reading)) throw new Error(`no glob: ${text}`);
    const budget = { steps: Number.POSITIVE_INFINITY };
    const matches = (entry: TreeEntry) =>
      reading.value.alternatives.some((one) => globMatches(one, globPath(entry.path), budget));
    return new Set(source.filter(matches));
  };
  const including = patterns.filter((text) => !text.startsWith("!"));
  const excluding = patterns.filter((text) => text.startsWith("!"));
  const all = including.length === 0 && excluding.length > 0;
  const chosen = source.filter(
    (entry) =>
      (all || including.some((text) => matching(text).has(entry))) &&
      !excluding.some((text) => matching(text).has(entry)),
  );
  return { chosen, unmatched: new Set(including.filter((text) => matching(text).size === 0)) };
}

test("what tasks select from one source is what each would select alone by holding every glob against every path", () => {
  fc.assert(
    fc.property(
      sources,
      fc.array(fc.option(globs, { nil: undefined }), { minLength: 1, maxLength: 6 }),
      (source, tasks) => {
        const selector = inputSelector(source);
        for (const patterns of tasks) {
          const set = selector.select(patterns?.map((text) => ({ pattern: text, position: { line: 1, column: 1 } })));
          const expected = naive(source, patterns);
          expect(set.root).toEqual(buildTree(expected.chosen).root);
          expect(new Set(set.unmatched.keys())).toEqual(expected.unmatched);
          const entries = treeEntries({ root: set.root, directories: selector.directories });
          expect(sortedByPath(entries)).toEqual(sortedByPath(expected.chosen));
        }
        expect(selector.exhausted()).toBe(false);
      },
    ),
  );
});
