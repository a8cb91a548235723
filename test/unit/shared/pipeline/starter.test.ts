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
    ["Meson", { "meson.build": "" }],
    ["Perl", { "Makefile.PL": "", Makefile: "" }],
    ["Perl", { "t/a.t": "" }],
    ["Ruby", { Gemfile: "", "package.json": "{}" }],
    ["PHP", { "composer.json": "" }],
    ["bats", { "test/a.bats": "" }],
    ["generic", {}],
    ["generic", { "main.zig": "" }],
  ] as [string, Record<string, string>][])("for %s (%j) parses without problems", (kind, files) => {
    expect(starter(files).kind).toBe(kind);
  });

  it("prefers the language's own tool over a Makefile beside it", () => {
    expect(starter({ Makefile: "", "go.mod": "" }).kind).toBe("Go");
  });

  it("runs the scripts that a package.json has, with the package manager of its lock file", () => {
    const scripts = JSON.stringify({ scripts: { build: "x", test: "y", deploy: "z" }, devDependencies: { a: "1" } });
    expect(starter({ "package.json": scripts, "package-lock.json": "{}" }).scripts).toEqual({
      dependencies: "npm ci --no-audit --no-fund",
      build: "npm run build",
      test: "npm run test",
    });
    expect(starter({ "package.json": scripts, "pnpm-lock.yaml": "" }).scripts["dependencies"]).toContain(
      "pnpm install --frozen-lockfile",
    );
    expect(starter({ "package.json": scripts, "yarn.lock": "" }).scripts["dependencies"]).toContain("yarn install");
    expect(starter({ "package.json": scripts, "bun.lock": "" }).scripts["dependencies"]).toContain("bun install");
  });

  it("hands what the build of a package makes to its tests, when its entry points tell where that is", () => {
    const manifest = {
      main: "./lib/index.js",
      scripts: { build: "tsc", test: "node --test" },
      devDependencies: { a: "1" },
    };
    const { pipeline, text } = starter({ "package.json": JSON.stringify(manifest), "src/index.ts": "" });
    expect(pipeline).toBe("pipeline");
    expect(text).toContain("outputs: { lib: lib/ }");
    expect(text).toContain("use: [node_modules, lib]");
    expect(starter({ "package.json": JSON.stringify(manifest), "lib/index.js": "" }).text).not.toContain("lib: lib/");
  });

  it("installs in each task where the packages of workspaces have folders of their own", () => {
    const manifest = { workspaces: ["packages/*"], scripts: { lint: "l", test: "t" }, devDependencies: { a: "1" } };
    const { scripts } = starter({ "package.json": JSON.stringify(manifest), "package-lock.json": "" });
    expect(scripts).toEqual({
      lint: "npm ci --no-audit --no-fund\nnpm run lint\n",
      test: "npm ci --no-audit --no-fund\nnpm run test\n",
    });
  });

  it("keeps what a package does at its own installation away from the task that installs what it needs", () => {
    const manifest = { scripts: { prepare: "husky", test: "t" }, devDependencies: { a: "1" } };
    const files = { "package.json": JSON.stringify(manifest) };
    expect(starter(files).scripts["dependencies"]).toBe("npm pkg delete scripts\nnpm install --no-audit --no-fund\n");
  });

  it("uses wrappers, lock files and test targets where there are some", () => {
    expect(starter({ "pom.xml": "", mvnw: "" }).scripts["verify"]).toContain("./mvnw ");
    expect(starter({ "Cargo.toml": "", "Cargo.lock": "" }).scripts["test"]).toContain("cargo test --locked");
    expect(starter({ Makefile: "all: a\ncheck: all\n" }).scripts["make"]).toBe("make\nmake check\n");
    expect(starter({ Makefile: "test := no target\n" }).scripts["make"]).toBe("make");
    expect(starter({ configure: "", "Makefile.in": "all test:\n" }).scripts["make"]).toBe(
      "./configure\nmake\nmake test\n",
    );
    expect(starter({ "configure.ac": "", "Makefile.am": "" }).scripts["make"]).toContain("autoreconf --install\n");
    expect(starter({ "pyproject.toml": "[tool.pytest]" }).scripts["test"]).toContain("-m pytest");
    expect(starter({ "test/a.bats": "" }).scripts["test"]).toBe("bats --recursive test");
    expect(starter({ "Build.PL": "" }).scripts["test"]).toContain("./Build test");
  });

  it("installs what Python tests need from files that change seldom, and the tests from there", () => {
    const files = {
      "setup.py": "setup(install_requires=['six>=1.16', \"idna\"])",
      "requirements/tests.txt": "-r base.txt\npytest",
      "requirements/base.txt": "attrs",
    };
    const { scripts, text } = starter(files);
    expect(scripts["dependencies"]).toBe(
      "mkdir wheels\npython3 -m pip wheel --quiet --wheel-dir wheels -r requirements/tests.txt setuptools wheel 'six>=1.16' idna\n",
    );
    expect(text).toContain("inputs: [requirements/tests.txt, requirements/base.txt]");
    expect(scripts["test"]).toContain("--no-index --find-links wheels");
  });

  it("lets the tests of a setup.py that computes what it needs go to the network", () => {
    const { scripts } = starter({ "setup.py": "setup(install_requires=read('needs.txt'))" });
    expect(Object.keys(scripts)).toEqual(["test"]);
    expect(scripts["test"]).not.toContain("--no-index");
  });

  it("reads what pyproject.toml asks for when the task runs, so that it need not be said twice", () => {
    const { scripts, text } = starter({
      "pyproject.toml": "[project]\nname = 'a'\nreadme = 'README.md'",
      "README.md": "",
    });
    expect(scripts["dependencies"]).toContain("tomllib");
    expect(text).toContain("inputs: [pyproject.toml]");
    expect(scripts["test"]).toMatch(/^touch README.md /);
  });

  it("downloads the modules of Go in a task of their own, unless there are none or they are in the source", () => {
    const files = { "go.mod": "module a\nrequire b v1.0.0\n", "go.sum": "", "a.go": "", "sub/testdata/x.json": "" };
    expect(Object.keys(starter(files).scripts)).toEqual(["dependencies", "test"]);
    expect(starter(files).text).toContain('inputs: [go.mod, go.sum, "**/*.go", "**/testdata/**"]');
    expect(Object.keys(starter({ ...files, "vendor/modules.txt": "" }).scripts)).toEqual(["test"]);
    expect(starter({ ...files, "a.go": "//go:embed page.html", "page.html": "" }).text).toContain("page.html");
  });

  it("reads neither documents nor settings of other services, unless the build or a test does", () => {
    const files = {
      ...{
        Makefile: "all:",
        "a.c": "",
        "b.c": "",
        "README.md": "",
        CHANGES: "",
        "docs/a.md": "",
        ".github/ci.yml": "",
      },
      ...{ ".travis.yml": "", LICENSE: "", "tests/a.txt": "" },
    };
    expect(starter(files).text).toContain('inputs: ["tests/**", LICENSE, Makefile, "*.c"]');
    expect(starter({ ...files, "tests/a.py": "open('README.md')" }).text).toContain("[README.md, ");
    const { text } = starter({ ...files, "CMakeLists.txt": "add_subdirectory(docs)\nfile(READ CHANGES changes)" });
    expect(text).toContain('"docs/**"');
    expect(text).toContain("touch CHANGES ");
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
