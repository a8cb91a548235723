import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { memoryCas } from "../../../../shared/cas/memory-cas.ts";
import { emptyDigest } from "../../../../shared/digest.ts";
import { limits } from "../../../../shared/limits.ts";
import { buildTree } from "../../../../shared/merkle/build-tree.ts";
import { diffEntries } from "../../../../shared/merkle/diff.ts";
import { loadTree, treeEntries } from "../../../../shared/merkle/load-tree.ts";
import type { TreeEntry, TreeNode } from "../../../../shared/merkle/tree-entry.ts";
import { decodeTree, encodeTree } from "../../../../shared/merkle/tree-message.ts";
import { compareUtf8, symlinkProblem } from "../../../../shared/merkle/tree-path.ts";
import { failure } from "../../../support/codes.ts";
import { digests, trees } from "../../../support/tree-arbitraries.ts";

const file = { kind: "file", digest: emptyDigest, executable: false } as const;
const at = (path: string, node: TreeNode = file): TreeEntry => ({ path, node });

describe("a tree", () => {
  test("comes back as it was built", async () => {
    await fc.assert(
      fc.asyncProperty(trees(), async (entries) => {
        const cas = memoryCas();
        const tree = buildTree(entries);
        await cas.writeMany([...tree.directories.values()]);
        expect(await loadTree(cas, tree.root)).toEqual(entries);
      }),
    );
  });

  test("does not depend on the order of its entries", () => {
    const shuffled = trees().chain((entries) =>
      fc.tuple(fc.constant(entries), fc.shuffledSubarray(entries, { minLength: entries.length })),
    );
    fc.assert(
      fc.property(shuffled, ([entries, other]) => {
        expect(buildTree(other).root).toEqual(buildTree(entries).root);
      }),
    );
  });

  test("survives being one Tree message", () => {
    fc.assert(
      fc.property(trees(), (entries) => {
        const tree = buildTree(entries);
        const decoded = decodeTree(encodeTree(tree));
        expect(decoded.root).toEqual(tree.root);
        expect(treeEntries(decoded)).toEqual(entries);
      }),
    );
  });

  test("may hold a subtree by its digest", async () => {
    const cas = memoryCas();
    const inner = buildTree([at("x"), at("y/z")]);
    const outer = buildTree([{ path: "a/b", node: { kind: "directory", digest: inner.root } }]);
    await cas.writeMany([...inner.directories.values(), ...outer.directories.values()]);
    expect(await loadTree(cas, outer.root)).toEqual([at("a/b/x"), at("a/b/y/z")]);
    expect(outer.root).toEqual(buildTree([at("a/b/x"), at("a/b/y/z")]).root);
  });

  test.each([
    ["a path twice", [at("a"), at("a")], "occurs twice"],
    ["a file and a directory of one name", [at("a/b"), at("a")], "also a directory"],
    ["something below a file", [at("a"), at("a/b")], "below the file"],
    [
      "something below a subtree",
      [at("a", { kind: "directory", digest: emptyDigest }), at("a/b")],
      "below the directory",
    ],
    ["something below a symlink", [at("a", { kind: "symlink", target: "b" }), at("a/b")], "below the symlink"],
    ["a way out", [at("a/../b")], "would lead elsewhere"],
    ["an absolute path", [at("/etc/passwd")], "is absolute"],
    ["an empty component", [at("a//b")], "is empty"],
    ["a trailing slash", [at("a/")], "is empty"],
    ["a zero byte", [at("a\0b")], "zero byte"],
    ["half a character", [at("a\ud800")], "not valid UTF-8"],
    ["a replaced character", [at("a\ufffd")], "not valid UTF-8"],
    ["a long name", [at("x".repeat(limits.pathComponentBytes + 1))], "longer than"],
    [
      "too many levels",
      [
        at(
          Array(limits.treeDepth + 1)
            .fill("d")
            .join("/"),
        ),
      ],
      "levels",
    ],
    ["an empty target", [at("a", { kind: "symlink", target: "" })], "is empty"],
  ])("refuses %s", async (_, entries, why) => {
    const { message } = await failure("invalid_argument", () => buildTree(entries));
    expect(message).toContain(why);
  });
});

test("names are ordered as their UTF-8 bytes are", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (a, b) => {
      expect(Math.sign(compareUtf8(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
  );
});

test("a shared subtree stands once in a Tree, behind all of its parents", () => {
  const leaf: TreeEntry[] = [at("leaf")];
  const shared = (prefix: string) => leaf.map(({ path, node }) => ({ path: `${prefix}/${path}`, node }));
  const tree = buildTree([...shared("a"), ...shared("b/c/d"), at("b/other")]);
  const order = [...decodeTree(encodeTree(tree)).directories.keys()];
  expect(order).toHaveLength(4);
  const leafKey = [...buildTree(leaf).directories.keys()][0];
  expect(order.indexOf(leafKey ?? "/0")).toBe(order.length - 1);
});

test("bytes that are no Tree are refused", async () => {
  await failure("invalid_argument", () => decodeTree(Uint8Array.from([0x0a, 0x7f, 1])));
  await failure("invalid_argument", () => decodeTree(new Uint8Array()));
});

describe("a symlink", () => {
  test.each(["b", "./b", "../c", "../../top", "x/y"])("at a/b/link may lead to %s", (target) => {
    expect(symlinkProblem("a/b/link", target)).toBeUndefined();
  });
  test.each(["/etc/passwd", "../../../out", "x/../../../../out", "x/..", ""])(
    "at a/b/link may not lead to '%s'",
    (target) => {
      expect(symlinkProblem("a/b/link", target)).toBeDefined();
    },
  );
});

describe("a difference", () => {
  test("of a tree to itself is nothing", () => {
    fc.assert(
      fc.property(trees(), (entries) => {
        expect(diffEntries(entries, entries)).toEqual({ added: [], removed: [], changed: [] });
      }),
    );
  });

  test("says what was added, removed and changed", () => {
    fc.assert(
      fc.property(trees(), trees(), (before, after) => {
        const { added, removed, changed } = diffEntries(before, after);
        const gone = new Set(removed.map((entry) => entry.path));
        const become = new Map(changed.map((entry) => [entry.path, entry.after]));
        const rebuilt = before
          .filter((entry) => !gone.has(entry.path))
          .map(({ path, node }) => ({ path, node: become.get(path) ?? node }));
        expect(buildTree([...rebuilt, ...added]).root).toEqual(buildTree(after).root);
        for (const entry of changed) expect(entry.before).not.toEqual(entry.after);
      }),
    );
  });

  test("sees a flipped executable bit", () => {
    fc.assert(
      fc.property(digests, (digest) => {
        const before: TreeNode = { kind: "file", digest, executable: false };
        const after: TreeNode = { ...before, executable: true };
        expect(diffEntries([at("x", before)], [at("x", after)]).changed).toEqual([{ path: "x", before, after }]);
      }),
    );
  });
});
