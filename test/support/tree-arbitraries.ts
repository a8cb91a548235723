import fc from "fast-check";
import { digestOf, emptyDigest } from "../../shared/digest.ts";
import type { TreeEntry, TreeNode } from "../../shared/merkle/tree-entry.ts";
import { byPath, nameProblem, symlinkProblem } from "../../shared/merkle/tree-path.ts";

/** Names that need care: order beyond UTF-16, characters around `/`, dots, lengths near a tar's fields. */
const name = fc.oneof(
  fc.constantFrom("a", "b", "a-b", "a.b", "A", "é", "\u{ffee}", "\u{1f600}", "...", " ", "-", "a\nb", "x".repeat(150)),
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 6 }).filter((text) => nameProblem(text) === undefined),
);

export const digests = fc.uint8Array({ maxLength: 12 }).map(digestOf);

/** Entries that can stand in one tree, sorted by path; files have small contents from `contents`. */
export function trees(contents: fc.Arbitrary<TreeNode> = fileNodes): fc.Arbitrary<TreeEntry[]> {
  const node: fc.Arbitrary<TreeNode> = fc.oneof(
    { weight: 6, arbitrary: contents },
    { weight: 1, arbitrary: name.map((target): TreeNode => ({ kind: "symlink", target })) },
    { weight: 1, arbitrary: fc.constant<TreeNode>({ kind: "directory", digest: emptyDigest }) },
  );
  const entry = fc.record({ names: fc.array(name, { minLength: 1, maxLength: 4 }), node });
  return fc.array(entry, { maxLength: 12 }).map((raw) => {
    const kept: TreeEntry[] = [];
    const taken = new Set<string>();
    const inner = new Set<string>();
    for (const { names, node: each } of raw) {
      const path = names.join("/");
      const parents = names.slice(1).map((_, index) => names.slice(0, index + 1).join("/"));
      if (taken.has(path) || inner.has(path) || parents.some((parent) => taken.has(parent))) continue;
      if (each.kind === "symlink" && symlinkProblem(path, each.target) !== undefined) continue;
      taken.add(path);
      for (const parent of parents) inner.add(parent);
      kept.push({ path, node: each });
    }
    return kept.sort(byPath);
  });
}

const fileNodes: fc.Arbitrary<TreeNode> = fc
  .record({ digest: digests, executable: fc.boolean() })
  .map((file) => ({ kind: "file", ...file }));
