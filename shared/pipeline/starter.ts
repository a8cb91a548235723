/** A first pipeline file for a project. */
export interface StarterPipeline {
  /** As people call the kind of project: `npm`, `Maven`, …; `generic` when nothing was recognised. */
  readonly kind: string;
  readonly text: string;
}

/** What there is to decide by. */
interface Project {
  has(file: string): boolean;
  /** Empty when the file cannot be read. */
  text(file: string): string;
}

interface StarterTask {
  readonly name: string;
  readonly commands: readonly string[];
  /** Lines of YAML below the script, for example a suggestion as a comment. */
  readonly more?: readonly string[];
}

interface StarterStage {
  readonly name: string;
  readonly needs?: readonly string[];
  readonly tasks: readonly StarterTask[];
}

interface Kind {
  readonly kind: string;
  readonly markers: readonly string[];
  stages(project: Project): readonly StarterStage[];
}

/** The first kind with a marker wins: a Makefile stands beside most other kinds, so it comes late. */
const kinds: readonly Kind[] = [
  { kind: "npm", markers: ["package.json"], stages: npmStages },
  { kind: "Maven", markers: ["pom.xml"], stages: mavenStages },
  {
    kind: "Gradle",
    markers: ["build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"],
    stages: gradleStages,
  },
  { kind: "Go", markers: ["go.mod"], stages: goStages },
  { kind: "Cargo", markers: ["Cargo.toml"], stages: cargoStages },
  { kind: "Python", markers: ["pyproject.toml", "setup.py", "setup.cfg", "requirements.txt"], stages: pythonStages },
  { kind: "CMake", markers: ["CMakeLists.txt"], stages: cmakeStages },
  { kind: "Make", markers: ["Makefile", "makefile", "GNUmakefile"], stages: makeStages },
];

/**
 * A starter `millrace.yaml` that parses and does what the project's own tools do. Pure.
 * @param files paths at the top of the project.
 * @param read the text of one of them; undefined when it cannot be read.
 * @param name of the pipeline, for example the folder's; turned into one that a pipeline may have.
 */
export function starterPipeline(
  files: ReadonlySet<string>,
  read: (path: string) => string | undefined,
  name = "",
): StarterPipeline {
  const project: Project = {
    has: (file) => files.has(file),
    text: (file) => (files.has(file) ? (read(file) ?? "") : ""),
  };
  const found = kinds.find(({ markers }) => markers.some(project.has));
  const stages = found === undefined ? genericStages : found.stages(project);
  const head = [
    "# Check this file with `millrace validate`, run it with `millrace run`.",
    `name: ${pipelineName(name)}`,
  ];
  const lines = [...head, "", "stages:", ...stages.flatMap(stageLines)];
  return { kind: found?.kind ?? "generic", text: `${lines.join("\n")}\n` };
}

function pipelineName(text: string): string {
  const name = text.toLowerCase().replace(/[^a-z0-9_-]+/g, "-");
  const trimmed = name
    .replace(/^[-_]+/, "")
    .slice(0, 63)
    .replace(/-+$/, "");
  return trimmed === "" ? "pipeline" : trimmed;
}

function stageLines({ name, needs, tasks }: StarterStage): string[] {
  const lines = [`  ${name}:`, ...(needs === undefined ? [] : [`    needs: [${needs.join(", ")}]`]), "    tasks:"];
  for (const task of tasks) {
    lines.push(`      ${task.name}:`, "        run: |", ...task.commands.map((command) => `          ${command}`));
    lines.push(...(task.more ?? []).map((line) => `        ${line}`));
  }
  return lines;
}

function npmStages(project: Project): readonly StarterStage[] {
  const scripts = scriptsOf(project.text("package.json"));
  const [install, run] = project.has("pnpm-lock.yaml")
    ? ["pnpm install --frozen-lockfile", "pnpm run"]
    : project.has("yarn.lock")
      ? ["yarn install --frozen-lockfile", "yarn run"]
      : [project.has("package-lock.json") ? "npm ci" : "npm install", "npm run"];
  const task = (name: string, more?: readonly string[]): StarterTask[] =>
    scripts.has(name) ? [{ name, commands: [install, `${run} ${name}`], ...(more === undefined ? {} : { more }) }] : [];
  const build = task("build", [
    "# outputs: { app: dist/ }   # names what the build makes, for other tasks and for people",
  ]);
  const verify = ["lint", "typecheck", "test"].flatMap((name) => task(name));
  if (build.length === 0 && verify.length === 0) {
    return [{ name: "build", tasks: [{ name: "install", commands: [install] }] }];
  }
  // Verification does not wait for the build: nothing is handed from one to the other yet.
  return [
    ...(build.length === 0 ? [] : [{ name: "build", tasks: build }]),
    ...(verify.length === 0 ? [] : [{ name: "verify", tasks: verify }]),
  ];
}

function scriptsOf(packageJson: string): ReadonlySet<string> {
  try {
    const parsed: unknown = JSON.parse(packageJson);
    const scripts = typeof parsed === "object" && parsed !== null && "scripts" in parsed ? parsed.scripts : undefined;
    return new Set(typeof scripts === "object" && scripts !== null ? Object.keys(scripts) : []);
  } catch {
    // A package.json that npm itself could not read tells nothing; the starter then only installs.
    return new Set();
  }
}

function mavenStages(project: Project): readonly StarterStage[] {
  const mvn = project.has("mvnw") ? "./mvnw" : "mvn";
  const more = ["# outputs: { jars: target/ }"];
  return [
    {
      name: "build",
      tasks: [{ name: "verify", commands: [`${mvn} --batch-mode --no-transfer-progress verify`], more }],
    },
  ];
}

function gradleStages(project: Project): readonly StarterStage[] {
  const gradle = project.has("gradlew") ? "./gradlew" : "gradle";
  const more = ["# outputs: { jars: build/libs/ }"];
  return [
    { name: "build", tasks: [{ name: "build", commands: [`${gradle} --no-daemon --console=plain build`], more }] },
  ];
}

function goStages(): readonly StarterStage[] {
  const tasks = [
    { name: "compile", commands: ["go build ./..."] },
    { name: "vet", commands: ["go vet ./..."] },
    { name: "test", commands: ["go test ./..."] },
  ];
  return [{ name: "build", tasks }];
}

function cargoStages(project: Project): readonly StarterStage[] {
  const locked = project.has("Cargo.lock") ? " --locked" : "";
  const more = ["# outputs: { release: target/release/my-program }"];
  const tasks = [
    { name: "test", commands: [`cargo test${locked}`] },
    { name: "release", commands: [`cargo build --release${locked}`], more },
  ];
  return [{ name: "build", tasks }];
}

function pythonStages(project: Project): readonly StarterStage[] {
  const manifests = ["pyproject.toml", "setup.cfg", "setup.py", "requirements.txt"];
  const usesPytest = manifests.some((file) => project.text(file).includes("pytest"));
  const isPackage = ["pyproject.toml", "setup.py"].some(project.has);
  const commands = [
    "python3 -m venv .venv",
    ...(project.has("requirements.txt") ? [".venv/bin/pip install --quiet -r requirements.txt"] : []),
    ...(isPackage ? [".venv/bin/pip install --quiet ."] : []),
    ...(usesPytest ? [".venv/bin/pip install --quiet pytest", ".venv/bin/python -m pytest"] : []),
    ...(usesPytest ? [] : [".venv/bin/python -m unittest discover"]),
  ];
  return [{ name: "verify", tasks: [{ name: "test", commands }] }];
}

function cmakeStages(): readonly StarterStage[] {
  const commands = [
    "cmake -S . -B build -DCMAKE_BUILD_TYPE=Release",
    "cmake --build build --parallel",
    "ctest --test-dir build --output-on-failure",
  ];
  return [{ name: "build", tasks: [{ name: "test", commands, more: ["# outputs: { build: build/ }"] }] }];
}

function makeStages(project: Project): readonly StarterStage[] {
  const makefile = ["GNUmakefile", "makefile", "Makefile"].map(project.text).find((text) => text !== "") ?? "";
  const check = ["check", "test"].find((target) => new RegExp(`^${target}\\s*:(?!=)`, "m").test(makefile));
  // One task: another would start from the sources again, without what the first has built.
  const commands = ["make", ...(check === undefined ? [] : [`make ${check}`])];
  return [{ name: "build", tasks: [{ name: "make", commands }] }];
}

const genericStages: readonly StarterStage[] = [
  {
    name: "build",
    tasks: [
      {
        name: "compile",
        commands: ["mkdir -p out", "echo 'replace this by the commands that build your project' > out/result.txt"],
        more: [
          '# inputs: ["src/**"]       # what the task reads; without it, the whole source',
          "outputs: { app: out/ }     # what it makes, by name",
          "# timeout: 10m",
          "# env: { LEVEL: quick }",
          "# agents: { os: linux }    # labels that the agent must have",
        ],
      },
    ],
  },
  {
    name: "verify",
    needs: ["build"],
    tasks: [
      {
        name: "test",
        commands: ["cat app/result.txt"],
        more: ["inputs: []", "use: [app]                 # lands at app/"],
      },
    ],
  },
];
