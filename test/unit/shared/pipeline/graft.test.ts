import { describe, expect, it } from "vitest";
import { digestOf } from "../../../../shared/digest.ts";
import { buildTree } from "../../../../shared/merkle/build-tree.ts";
import type { TreeEntry } from "../../../../shared/merkle/tree-entry.ts";
import { graftArtifacts } from "../../../../shared/pipeline/graft.ts";

const digest = digestOf(Buffer.from("x"));
const file = (path: string): TreeEntry => ({ path, node: { kind: "file", digest, executable: false } });
const folder = (path: string): TreeEntry => ({ path, node: { kind: "directory", digest } });
const inputs = [file("src/a.js"), file("src-more"), file("b")];

describe("grafting artifacts", () => {
  it("puts files and folders beside the inputs, in a tree that can be built", () => {
    const entries = graftArtifacts(inputs, [folder("dist"), folder("src/gen"), file("opt/deep/tool")]);
    expect(entries.map(({ path }) => path).sort()).toEqual([
      "b",
      "dist",
      "opt/deep/tool",
      "src-more",
      "src/a.js",
      "src/gen",
    ]);
    expect(buildTree(entries).directories.size).toBe(4);
  });

  it.each([
    ["src", "src/a.js"],
    ["src/a.js", "src/a.js"],
    ["b/c/d", "b"],
  ])("refuses an artifact at %s, as %s is there", (path, other) => {
    expect(() => graftArtifacts(inputs, [folder(path)])).toThrow(
      `an artifact cannot land at ${path}, as ${other} is there: give the use another path`,
    );
  });

  it("refuses artifacts that land on each other", () => {
    expect(() => graftArtifacts([], [folder("app"), file("app/x")])).toThrow("cannot land at app/x, as app is there");
    expect(() => graftArtifacts([], [file("app/x"), folder("app")])).toThrow("cannot land at app, as app/x is there");
  });
});
