import { appendFileSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { project, startFarm, type TestFarm } from "../support/farm.ts";
import { missingTools } from "../support/machine.ts";

// Small projects of several kinds, with the real tools where this machine has them. Real projects, which have to be
// fetched, are in test/projects.

interface Fixture {
  readonly kind: string;
  readonly tools: readonly string[];
  readonly files: Readonly<Record<string, string>>;
}

const fixtures: readonly Fixture[] = [
  {
    kind: "npm",
    tools: ["node", "npm"],
    files: {
      "package.json": JSON.stringify({
        name: "a",
        version: "1.0.0",
        main: "dist/a.js",
        scripts: { build: "mkdir dist && cp src/a.js dist/", test: "node --test" },
      }),
      "src/a.js": "exports.one = 1;",
      "test/a.test.js": 'require("node:test")("one", () => require("node:assert").equal(require("../").one, 1));',
    },
  },
  {
    kind: "Python",
    tools: ["python3"],
    files: {
      "setup.cfg": "[metadata]\nname = a\n",
      "a.py": "one = 1\n",
      "tests/test_a.py":
        "import unittest, a\n\nclass A(unittest.TestCase):\n    def test_one(self):\n        self.assertEqual(a.one, 1)\n",
    },
  },
  {
    kind: "Perl",
    tools: ["perl", "make"],
    files: {
      "Makefile.PL": 'use ExtUtils::MakeMaker; WriteMakefile(NAME => "A", VERSION => 1);',
      "lib/A.pm": "package A; sub one { 1 } 1;",
      "t/a.t": 'use Test::More tests => 1; use A; is(A::one(), 1, "one");',
    },
  },
  {
    kind: "Make",
    tools: ["make", "gcc"],
    files: {
      Makefile: "a: a.c\n\tcc -o a a.c\ntest: a\n\t./a\n.PHONY: test\n",
      "a.c": "int main(void) { return 0; }\n",
    },
  },
  {
    kind: "CMake",
    tools: ["cmake", "gcc"],
    files: {
      "CMakeLists.txt":
        "cmake_minimum_required(VERSION 3.10)\nproject(a C)\nenable_testing()\nadd_executable(a a.c)\nadd_test(one a)\n",
      "a.c": "int main(void) { return 0; }\n",
    },
  },
  { kind: "generic", tools: [], files: { "notes.txt": "nothing that is known" } },
];

describe("millrace init", () => {
  let farm: TestFarm;
  beforeAll(async () => {
    farm = await startFarm({ agents: 1, slots: 2 });
  });
  afterAll(() => farm.remove());

  describe.each(fixtures)("in a project of the kind $kind", ({ kind, tools, files }) => {
    it.skipIf(missingTools(tools).length > 0)("writes a pipeline that runs, and not again for its README", async () => {
      const dir = project({ ...files, "README.md": "What this is.\n" });
      const { stdout } = await farm.cli(["init", dir, "--json"]);
      expect(JSON.parse(stdout)).toMatchObject({ kind });
      const first = await farm.run(dir);
      expect(first.exitStatus).toBe(0);
      if (kind === "generic") return; // it cannot know what such a project reads
      appendFileSync(join(dir, "README.md"), "And why.\n");
      const second = await farm.run(dir);
      expect(second.tasks.map(({ cached }) => cached)).toEqual(first.tasks.map(() => true));
    });
  });

  it.skipIf(missingTools(["python3"]).length > 0).each([
    ["GitHub Actions", "github-plain.yml", ".github/workflows/ci.yml"],
    ["GitLab CI", "gitlab-plain.yml", ".gitlab-ci.yml"],
  ])("--from a file of %s writes a pipeline that runs", async (kind, fixture, path) => {
    const foreign = readFileSync(join(import.meta.dirname, "../unit/shared/pipeline/import/fixtures", fixture), "utf8");
    const unit =
      "import unittest\n\nclass A(unittest.TestCase):\n    def test_one(self):\n        self.assertEqual(1, 1)\n";
    const dir = project({ [path]: foreign, "src/test_a.py": unit });
    const { stdout, stderr } = await farm.cli(["init", dir, "--from", join(dir, path), "--json"]);
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toMatchObject({ kind, gaps: [] });
    const { exitStatus, tasks } = await farm.run(dir);
    expect({ exitStatus, failed: tasks.filter(({ status }) => status !== "succeeded") }).toEqual({
      exitStatus: 0,
      failed: [],
    });
  });

  it("--from says on standard error, too, what it could not translate", async () => {
    const dir = project({ ".gitlab-ci.yml": "a:\n  image: alpine\n  script: make\n" });
    const { status, stdout, stderr } = await farm.cli(["init", dir, "--from", join(dir, ".gitlab-ci.yml")]);
    expect(status).toBe(0);
    expect(stderr).toContain(`${join(dir, ".gitlab-ci.yml")}:2: \`image\``);
    expect(stdout).toContain("all but 1 thing");
  });

  it("keeps a pipeline file that is there", async () => {
    const dir = project({ "millrace.yaml": "mine" });
    const { status, stderr } = await farm.cli(["init", dir]);
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining("is there already") });
    rmSync(join(dir, "millrace.yaml"));
    expect((await farm.cli(["init", dir])).status).toBe(0);
  });
});
