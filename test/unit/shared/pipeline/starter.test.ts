import { describe, expect, it } from "vitest";
import { parsePipeline } from "../../../../shared/pipeline/parse.ts";
import { starterPipeline } from "../../../../shared/pipeline/starter.ts";

function starter(files: Readonly<Record<string, string>>, name?: string) {
  const found = starterPipeline(new Set(Object.keys(files)), (path) => files[path], name);
  const { pipeline, problems } = parsePipeline(found.text, "millrace.yaml");
  expect(problems).toEqual([]);
  const scripts = (pipeline?.stages ?? []).flatMap((stage) =>
    stage.tasks.map((task) => [task.name, task.run] as const),
  );
  return { ...found, pipeline: pipeline?.name, scripts: Object.fromEntries(scripts) };
}

describe("a starter pipeline", () => {
  it.each([
    ["npm", { "package.json": "{}" }],
    ["npm", { "package.json": "not JSON" }],
    ["Maven", { "pom.xml": "" }],
    ["Gradle", { "build.gradle.kts": "" }],
    ["Go", { "go.mod": "module x" }],
    ["Cargo", { "Cargo.toml": "" }],
    ["Python", { "pyproject.toml": "" }],
    ["Python", { "requirements.txt": "flask" }],
    ["Make", { Makefile: "all:\n\ttrue\n" }],
    ["CMake", { "CMakeLists.txt": "" }],
    ["generic", {}],
    ["generic", { "main.zig": "" }],
  ] as [string, Record<string, string>][])("for %s (%j) parses without problems", (kind, files) => {
    expect(starter(files).kind).toBe(kind);
  });

  it("prefers the language's own tool over a Makefile beside it", () => {
    expect(starter({ Makefile: "", "go.mod": "" }).kind).toBe("Go");
  });

  it("runs the scripts that a package.json has, with the package manager of its lock file", () => {
    const scripts = JSON.stringify({ scripts: { build: "x", test: "y", deploy: "z" } });
    expect(starter({ "package.json": scripts, "package-lock.json": "{}" }).scripts).toEqual({
      build: "npm ci\nnpm run build\n",
      test: "npm ci\nnpm run test\n",
    });
    expect(starter({ "package.json": scripts, "pnpm-lock.yaml": "" }).scripts["test"]).toContain(
      "pnpm install --frozen-lockfile",
    );
  });

  it("uses wrappers, lock files and test targets where there are some", () => {
    expect(starter({ "pom.xml": "", mvnw: "" }).scripts["verify"]).toContain("./mvnw ");
    expect(starter({ "Cargo.toml": "", "Cargo.lock": "" }).scripts["test"]).toBe("cargo test --locked\n");
    expect(starter({ Makefile: "all: a\ncheck: all\n" }).scripts["make"]).toBe("make\nmake check\n");
    expect(starter({ Makefile: "test := no target\n" }).scripts["make"]).toBe("make\n");
    expect(starter({ "pyproject.toml": "[tool.pytest]" }).scripts["test"]).toContain("-m pytest");
  });

  it.each([
    ["My Shop!", "my-shop"],
    ["", "pipeline"],
    ["---", "pipeline"],
    ["x".repeat(100), "x".repeat(63)],
  ])("turns the folder %j into the name %s", (folder, name) => {
    expect(starter({}, folder).pipeline).toBe(name);
  });
});
