import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { digestOf } from "../../../../shared/digest.ts";
import { limits } from "../../../../shared/limits.ts";
import { buildTree } from "../../../../shared/merkle/build-tree.ts";
import { treeEntries } from "../../../../shared/merkle/load-tree.ts";
import type { TreeEntry } from "../../../../shared/merkle/tree-entry.ts";
import { sortedByPath } from "../../../../shared/pipeline/path-order.ts";
import { sourceTree } from "../../../../shared/pipeline/source-tree.ts";

const name = fc.constantFrom("a", "a-b", "a0", "b", ".c", "ü", "😀", "\uffff");
const path = fc.array(name, { minLength: 1, maxLength: 5 }).map((names) => names.join("/"));
/** No path lies below another, as in every tree. */
const source = fc
  .uniqueArray(path, { maxLength: 40 })
  .map((paths) => paths.filter((one) => !paths.some((other) => other.startsWith(`${one}/`))))
  .map((paths) =>
    paths.map((one): TreeEntry => {
      return {
        path: one,
        node: { kind: "file", digest: digestOf(Buffer.from(one)), executable: one.length % 2 === 0 },
      };
    }),
  );
const choices = fc.array(fc.array(fc.boolean(), { minLength: 40, maxLength: 40 }), { minLength: 1, maxLength: 4 });

describe("trees of parts of a source", () => {
  it("are those that the same entries give on their own, whatever was built before", () => {
    fc.assert(
      fc.property(source, choices, fc.boolean(), (entries, parts, wholeFirst) => {
        const sorted = sortedByPath(entries);
        const trees = sourceTree(sorted);
        if (wholeFirst) expect(trees.build(new Uint8Array(sorted.length).fill(1))).toEqual(buildTree(sorted).root);
        for (const part of parts) {
          const chosen = Uint8Array.from(sorted, (_, index) => (part[index] === true ? 1 : 0));
          const expected = sorted.filter((_, index) => chosen[index] === 1);
          const root = trees.build(chosen);
          expect(root).toEqual(buildTree(expected).root);
          // Every Directory is at hand, or reading the tree back would fail.
          expect(sortedByPath(treeEntries({ root, directories: trees.directories }))).toEqual(expected);
        }
        expect(trees.exhausted()).toBe(false);
      }),
    );
  });

  it("stop being built when they have too little in common", () => {
    const entries = Array.from({ length: 20_000 }, (_, n): TreeEntry => {
      return { path: `f${n}`, node: { kind: "file", digest: digestOf(Buffer.of(n % 256)), executable: false } };
    });
    const trees = sourceTree(sortedByPath(entries));
    const most = limits.plannedNodes / entries.length + 2;
    let built = 0;
    for (; built < most && !trees.exhausted(); built++) {
      trees.build(Uint8Array.from(entries, (_, index) => (index === built ? 0 : 1)));
    }
    expect(trees.exhausted()).toBe(true);
  });
});
