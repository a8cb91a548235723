import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { climbOf, isLfsPointer, parseGitTree } from "../../../../agent/source/git-tree.ts";
import { symlinkProblem } from "../../../../shared/merkle/tree-path.ts";

const oid = (digit: string) => digit.repeat(40);

function treeOf(...entries: readonly (readonly [string, string, string])[]): Buffer {
  return Buffer.concat(
    entries.flatMap(([mode, name, id]) => [Buffer.from(`${mode} ${name}\0`), Buffer.from(id, "hex")]),
  );
}

describe("a tree object", () => {
  test("is read into its entries", () => {
    const data = treeOf(
      ["100644", "a", oid("1")],
      ["100755", "b", oid("2")],
      ["120000", "c", oid("3")],
      ["40000", "d", oid("4")],
      ["100664", "e", oid("5")],
    );
    expect(parseGitTree(data, "", 20)).toEqual([
      { name: "a", kind: "file", oid: oid("1") },
      { name: "b", kind: "executable", oid: oid("2") },
      { name: "c", kind: "symlink", oid: oid("3") },
      { name: "d", kind: "tree", oid: oid("4") },
      { name: "e", kind: "file", oid: oid("5") },
    ]);
  });

  test("of SHA-256 has ids of 32 bytes", () => {
    const id = "ab".repeat(32);
    expect(parseGitTree(treeOf(["100644", "a", id]), "", 32)).toEqual([{ name: "a", kind: "file", oid: id }]);
  });

  test("whatever its bytes are, it is refused or its names are such that a folder can have them", () => {
    const name = fc.oneof(fc.string(), fc.constantFrom("..", ".git", ".", "a/b", "a"));
    const mode = fc.constantFrom("100644", "40000", "120000", "160000", "644", "x", "");
    const entry = fc.tuple(mode, name, fc.constant(oid("1")));
    const bytes = fc.oneof(
      fc.array(entry, { maxLength: 4 }).map((entries) => treeOf(...entries)),
      fc.uint8Array({ maxLength: 100 }).map((data) => Buffer.from(data)),
    );
    fc.assert(
      fc.property(bytes, (data) => {
        let names: string[] = [];
        try {
          names = parseGitTree(data, "", 20).map((found) => found.name);
        } catch (error) {
          expect(error).toMatchObject({ code: "invalid_argument" });
        }
        for (const one of names) expect(one).not.toMatch(/^$|^\.\.?$|\/|\0|^\.git$/i);
        expect(new Set(names).size).toBe(names.length);
      }),
    );
  });
});

test("a symlink climbs as many levels as it would leave its folder by", () => {
  const name = fc.constantFrom("..", ".", "", "a", "b");
  const depths = fc.integer({ min: 0, max: 4 });
  fc.assert(
    fc.property(fc.array(name, { minLength: 1, maxLength: 6 }), depths, (names, depth) => {
      const target = names.join("/");
      fc.pre(target !== "");
      const climb = climbOf(target);
      const path = [...Array.from({ length: depth }, () => "d"), "link"].join("/");
      const isInside = climb !== undefined && climb <= depth;
      expect(isInside).toBe(symlinkProblem(path, target) === undefined);
    }),
  );
});

test("a pointer of Git LFS is told from a file that speaks of one", () => {
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 12\n`;
  expect(isLfsPointer(Buffer.from(pointer))).toBe(true);
  expect(isLfsPointer(Buffer.from(pointer.replace("\noid", "\next-0-foo sha256:1\noid")))).toBe(true);
  expect(isLfsPointer(Buffer.from(`# ${pointer}`))).toBe(false);
  expect(isLfsPointer(Buffer.from(pointer + "x".repeat(1024)))).toBe(false);
});
