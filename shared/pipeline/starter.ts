import { cmakePlan, makePlan, mesonPlan } from "./starters/c.ts";
import { goPlan } from "./starters/go.ts";
import { gradlePlan, mavenPlan } from "./starters/jvm.ts";
import { planLines, type StarterPlan } from "./starters/layout.ts";
import { nodePlan } from "./starters/node.ts";
import { batsPlan, cargoPlan, genericPlan, phpPlan, rubyPlan } from "./starters/others.ts";
import { perlPlan } from "./starters/perl.ts";
import { type Project, projectOf } from "./starters/project.ts";
import { pythonPlan } from "./starters/python.ts";

/** A first pipeline file for a project. */
export interface StarterPipeline {
  /** As people call the kind of project: `npm`, `Maven`, …; `generic` when nothing was recognised. */
  readonly kind: string;
  readonly text: string;
}

interface Kind {
  readonly kind: string;
  readonly markers: readonly string[] | RegExp;
  plan(project: Project): StarterPlan;
}

/** The first kind with a marker wins: a Makefile stands beside most other kinds, so it comes late. */
const kinds: readonly Kind[] = [
  { kind: "Maven", markers: ["pom.xml"], plan: mavenPlan },
  {
    kind: "Gradle",
    markers: ["build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"],
    plan: gradlePlan,
  },
  { kind: "Go", markers: ["go.mod", "go.work"], plan: goPlan },
  { kind: "Cargo", markers: ["Cargo.toml"], plan: cargoPlan },
  { kind: "Python", markers: ["pyproject.toml", "setup.py", "setup.cfg"], plan: pythonPlan },
  { kind: "PHP", markers: ["composer.json"], plan: phpPlan },
  { kind: "Ruby", markers: ["Gemfile"], plan: rubyPlan },
  { kind: "npm", markers: ["package.json"], plan: nodePlan },
  { kind: "Perl", markers: ["Makefile.PL", "Build.PL", "cpanfile"], plan: perlPlan },
  { kind: "Python", markers: ["requirements.txt"], plan: pythonPlan },
  { kind: "CMake", markers: ["CMakeLists.txt"], plan: cmakePlan },
  { kind: "Meson", markers: ["meson.build"], plan: mesonPlan },
  {
    kind: "Make",
    markers: ["Makefile", "makefile", "GNUmakefile", "configure", "configure.ac", "configure.in"],
    plan: makePlan,
  },
  { kind: "bats", markers: /\.bats$/, plan: batsPlan },
  { kind: "Perl", markers: /^t\/[^/]+\.t$/, plan: perlPlan },
];

/**
 * A starter `millrace.yaml` that parses and does what the project's own tools do. Pure.
 * @param files paths of the files of the project, relative to its top.
 * @param read the text of one of them; undefined when it cannot be read.
 * @param name of the pipeline, for example the folder's; turned into one that a pipeline may have.
 */
export function starterPipeline(
  files: Iterable<string>,
  read: (path: string) => string | undefined,
  name = "",
): StarterPipeline {
  const project = projectOf(files, read);
  const found = kinds.find(({ markers }) =>
    markers instanceof RegExp ? project.files.some((path) => markers.test(path)) : markers.some(project.has),
  );
  const plan = found === undefined ? genericPlan() : found.plan(project);
  const head = [
    "# Check this file with `millrace validate`, run it with `millrace run`.",
    `name: ${pipelineName(name)}`,
  ];
  return { kind: found?.kind ?? "generic", text: `${[...head, "", ...planLines(plan)].join("\n")}\n` };
}

/** A name that a pipeline may have, as near to the text as possible. */
export function pipelineName(text: string): string {
  const name = text.toLowerCase().replace(/[^a-z0-9_-]+/g, "-");
  const trimmed = name
    .replace(/^[-_]+/, "")
    .slice(0, 63)
    .replace(/-+$/, "");
  return trimmed === "" ? "pipeline" : trimmed;
}
