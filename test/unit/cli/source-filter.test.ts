import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { sourceFilter } from "../../../cli/source-filter.ts";
import { tempDir } from "../../support/temp-dir.ts";

function folder(files: Readonly<Record<string, string>>): string {
  const dir = tempDir();
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
  return dir;
}

describe("the source tree leaves behind", () => {
  it(".git, wherever and whatever it is, and nothing else without rules", () => {
    const ignored = sourceFilter(folder({}));
    expect(ignored(".git", true)).toBe(true);
    expect(ignored("vendor/lib/.git", false)).toBe(true);
    expect(ignored(".gitignore", false)).toBe(false);
    expect(ignored("a.git", true)).toBe(false);
  });

  it("what .gitignore names, with a rule for folders only where it says so", () => {
    const ignored = sourceFilter(folder({ ".gitignore": "node_modules/\n*.log\n!keep.log\n" }));
    expect(ignored("node_modules", true)).toBe(true);
    expect(ignored("node_modules", false)).toBe(false);
    expect(ignored("deep/down/x.log", false)).toBe(true);
    expect(ignored("keep.log", false)).toBe(false);
  });

  it("what a nested .gitignore names, which overrules those above it", () => {
    const ignored = sourceFilter(folder({ ".gitignore": "*.gen\n", "sub/.gitignore": "!wanted.gen\n/local\n" }));
    expect(ignored("wanted.gen", false)).toBe(true);
    expect(ignored("sub/wanted.gen", false)).toBe(false);
    expect(ignored("sub/other.gen", false)).toBe(true);
    expect(ignored("sub/local", false)).toBe(true);
    expect(ignored("local", false)).toBe(false);
  });

  it("what the .gitignore of the repository around it names", () => {
    const dir = folder({ ".git/HEAD": "", ".gitignore": "out/\n/apps/web/tmp\n", "apps/web/x": "" });
    const ignored = sourceFilter(join(dir, "apps/web"));
    expect(ignored("out", true)).toBe(true);
    expect(ignored("tmp", false)).toBe(true);
    expect(ignored("src/tmp", false)).toBe(false);
  });
});
