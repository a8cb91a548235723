import { limits } from "../limits.ts";
import { cacheProblems, type Place } from "./cache-places.ts";
import { suggest } from "./did-you-mean.ts";
import type { TaskOrigin } from "./expand.ts";
import { closure, orderByNeeds } from "./order.ts";
import { pathsOverlap, readRelativePath } from "./relative-path.ts";
import type { PathProblem } from "./shape-problems.ts";
import type { YamlPath, YamlSource, YamlValue } from "./yaml-value.ts";

// Checks that every name refers to something. It reads the raw values and skips what has the wrong shape, so that a
// misspelt key does not hide an unknown name elsewhere: all problems come at once.

/** A name somewhere in the file. */
interface Mention {
  readonly name: string;
  readonly path: YamlPath;
}

interface TaskOutline extends Mention {
  readonly stage: string;
  readonly needs: readonly Mention[];
  readonly use: readonly (Mention & { readonly landing: string })[];
  readonly outputs: readonly (Mention & { readonly landing: string })[];
  /** Its own and those of the defaults. */
  readonly caches: readonly Place[];
}

interface StageOutline extends Mention {
  readonly needs: readonly Mention[];
  readonly tasks: ReadonlyMap<string, TaskOutline>;
  /** Names of its tasks in the file, of which some may have variants. */
  readonly written: ReadonlySet<string>;
  /** Keys that make it a stage of another kind, which has no tasks of its own. */
  readonly special: readonly string[];
}

type Origins = ReadonlyMap<string, TaskOrigin>;
type Stages = ReadonlyMap<string, StageOutline>;

/** Collects problems up to the limit. Whoever has an expensive hint to find asks first whether it would be kept. */
interface Report {
  (problem: PathProblem): void;
  isFull(): boolean;
}

/** Where each artifact is made, as `[stage, task]`. */
export type Artifacts = ReadonlyMap<string, readonly [stage: string, task: string]>;

export interface References {
  readonly artifacts: Artifacts;
  readonly problems: readonly PathProblem[];
}

/** Finds names that refer to nothing, circles of needs, and uses that cannot work; at most `limits.pipelineProblems`. */
export function checkReferences(source: YamlSource, origins: Origins): References {
  // Variants of one task have the same faults at the same place.
  const problems = new Map<string, PathProblem>();
  const isFull = () => problems.size >= limits.pipelineProblems;
  const add = (problem: PathProblem) => {
    if (isFull()) return;
    const { line, column, file = "" } = source.position(problem.path, problem.part);
    problems.set(`${file}:${line}:${column}:${problem.message}`, problem);
  };
  const report: Report = Object.assign(add, { isFull });
  const stages = outline(source, origins);
  const artifacts = checkArtifacts(stages, origins, report);
  const upstream = new Map<string, ReadonlySet<string>>();
  const stageNeeds = (name: string) => stages.get(name)?.needs.map((need) => need.name) ?? [];
  for (const stage of stages.values()) {
    upstream.set(stage.name, closure(stageNeeds(stage.name), stageNeeds));
    checkNeeds(stage.needs, stages, "stage", report);
    const [special] = stage.special;
    if (special !== undefined && source.keys(stage.path).includes("tasks")) {
      report({
        path: [...stage.path, special],
        part: "key",
        message: `stage "${stage.name}" has "tasks" and "${special}"`,
        hint: "make two stages of it, of which one needs the other",
      });
    }
    if (stage.tasks.size === 0 && special === undefined) {
      report({
        path: stage.path,
        part: "key",
        message: `stage "${stage.name}" has no tasks`,
        hint: "add at least one",
      });
    }
  }
  if (stages.size === 0 && isMapping(member(source.value, "stages"))) {
    report({ path: ["stages"], part: "key", message: "the pipeline has no stages", hint: "add one with a task" });
  }
  reportCycles(stages, stageNeeds, "stages", report);
  for (const stage of stages.values()) checkTasks(stage, artifacts, upstream.get(stage.name) ?? new Set(), report);
  return { artifacts, problems: [...problems.values()] };
}

function writtenName(stage: string, task: string, origins: Origins): string {
  return origins.get(`${stage}/${task}`)?.madeFrom?.slice(stage.length + 1) ?? task;
}

function outline(source: YamlSource, origins: Origins): Stages {
  const mapping = (value: YamlValue | undefined, path: YamlPath) =>
    isMapping(value) ? source.keys(path).map((name) => ({ name, path: [...path, name], value: value[name] })) : [];
  const landings = (owner: YamlValue | undefined, key: string, path: YamlPath) =>
    mapping(member(owner, key), [...path, key]).map(({ name, path, value }) => ({
      name,
      path,
      landing: landing(value, name),
    }));
  const defaults = landings(member(source.value, "defaults"), "caches", ["defaults"]);
  const inherited = (task: { readonly path: YamlPath; readonly value: YamlValue | undefined }) =>
    defaults
      .filter(({ name }) => member(member(task.value, "caches"), name) === undefined)
      .map((cache) => cacheAt({ ...cache, path: task.path }));
  const stages = new Map<string, StageOutline>();
  for (const stage of mapping(member(source.value, "stages"), ["stages"])) {
    const tasks = new Map<string, TaskOutline>();
    for (const task of mapping(member(stage.value, "tasks"), [...stage.path, "tasks"])) {
      tasks.set(task.name, {
        name: task.name,
        path: task.path,
        stage: stage.name,
        needs: mentions(member(task.value, "needs"), [...task.path, "needs"]),
        use: uses(member(task.value, "use"), [...task.path, "use"]),
        outputs: landings(task.value, "outputs", task.path),
        caches: [...inherited(task), ...landings(task.value, "caches", task.path).map(cacheAt)],
      });
    }
    const deploy = member(stage.value, "deploy");
    if (isMapping(deploy)) {
      const path = [...stage.path, "deploy"];
      const use = uses(member(deploy, "use"), [...path, "use"]);
      tasks.set("deploy", { name: "deploy", path, stage: stage.name, needs: [], use, outputs: [], caches: [] });
    }
    const needs = mentions(member(stage.value, "needs"), [...stage.path, "needs"]);
    const special = ["deploy", "manual"].filter((key) => member(stage.value, key) !== undefined);
    const written = new Set([...tasks.keys()].map((task) => writtenName(stage.name, task, origins)));
    stages.set(stage.name, { name: stage.name, path: stage.path, needs, tasks, written, special });
  }
  return stages;
}

function cacheAt({ name, path, landing }: Mention & { readonly landing: string }): Place {
  return { what: `cache "${name}"`, landing, path };
}

/** Where a path leads; the name stands for one that is no path, which is said elsewhere. */
function landing(given: YamlValue | undefined, name: string): string {
  const reading = readRelativePath(typeof given === "string" ? given : name);
  return "value" in reading ? reading.value : name;
}

function isMapping(value: YamlValue | undefined): value is { readonly [key: string]: YamlValue } {
  return typeof value === "object" && !Array.isArray(value);
}

function member(value: YamlValue | undefined, key: string): YamlValue | undefined {
  return isMapping(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

function mentions(value: YamlValue | undefined, path: YamlPath): Mention[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((name: YamlValue, index) =>
    typeof name === "string" ? [{ name, path: [...path, index] }] : [],
  );
}

function uses(value: YamlValue | undefined, path: YamlPath) {
  if (!Array.isArray(value)) return [];
  return value.flatMap((item: YamlValue, index) => {
    const name = typeof item === "string" ? item : member(item, "artifact");
    if (typeof name !== "string") return [];
    return [{ name, path: [...path, index], landing: landing(member(item, "path"), name) }];
  });
}

/** Artifacts are named once in the whole pipeline, as people and other pipelines ask for them by name alone. */
function checkArtifacts(stages: Stages, origins: Origins, report: Report): Artifacts {
  const artifacts = new Map<string, readonly [string, string]>();
  for (const stage of stages.values()) {
    for (const task of stage.tasks.values()) {
      for (const output of task.outputs) {
        const first = artifacts.get(output.name);
        if (first === undefined) {
          artifacts.set(output.name, [stage.name, task.name]);
        } else {
          const madeFrom = origins.get(`${stage.name}/${task.name}`)?.madeFrom;
          const isVariant = madeFrom !== undefined && madeFrom === origins.get(first.join("/"))?.madeFrom;
          const [message, hint] = isVariant ? sameInVariants(output.name, madeFrom) : sameTwice(output.name, first);
          report({ path: output.path, part: "key", message, hint });
        }
      }
    }
  }
  return artifacts;
}

function sameTwice(artifact: string, first: readonly string[]): readonly [message: string, hint: string] {
  return [`artifact "${artifact}" is already made by ${first.join("/")}`, "give one of them another name"];
}

function sameInVariants(artifact: string, madeFrom: string): readonly [message: string, hint: string] {
  const hint = `put what tells them apart into its name: "${artifact}-\${{ variant }}"`;
  return [`every variant of ${madeFrom} makes an artifact "${artifact}"`, hint];
}

function checkNeeds(
  needs: readonly Mention[],
  known: ReadonlyMap<string, unknown>,
  what: "stage" | "task",
  report: Report,
  candidates: Iterable<string> = known.keys(),
): void {
  for (const need of needs) {
    if (known.has(need.name) || report.isFull()) continue;
    const hint =
      what === "task" && need.name.includes("/")
        ? "a task needs tasks of its own stage, named without the stage; to wait for another stage, let the stage need it"
        : suggest(need.name, [...candidates], what === "stage" ? "stages" : "tasks of this stage");
    report({ path: need.path, part: "value", message: `there is no ${what} "${need.name}"`, hint });
  }
}

function checkTasks(stage: StageOutline, artifacts: Artifacts, upstream: ReadonlySet<string>, report: Report): void {
  for (const task of stage.tasks.values()) {
    checkNeeds(task.needs, stage.tasks, "task", report, stage.written);
    for (const use of task.use) checkUse(use, task, artifacts, upstream, report);
    checkLandings(task, report);
    checkCaches(task, report);
  }
  const needsOf = (name: string) => {
    const task = stage.tasks.get(name);
    const made = (task?.use ?? []).flatMap((use) => {
      const [producerStage, producer] = artifacts.get(use.name) ?? [];
      return producerStage === stage.name && producer !== undefined && producer !== name ? [producer] : [];
    });
    return [...(task?.needs ?? []).map((need) => need.name), ...made];
  };
  reportCycles(stage.tasks, needsOf, "tasks", report);
}

function checkUse(
  use: Mention,
  task: TaskOutline,
  artifacts: Artifacts,
  upstream: ReadonlySet<string>,
  report: Report,
): void {
  const maker = artifacts.get(use.name);
  if (report.isFull()) return;
  if (maker === undefined) {
    const hint = suggest(use.name, [...artifacts.keys()], "artifacts");
    report({ path: use.path, part: "value", message: `there is no artifact "${use.name}"`, hint });
    return;
  }
  const [stage, name] = maker;
  if (stage === task.stage && name === task.name) {
    const message = `artifact "${use.name}" is made by this task itself`;
    report({ path: use.path, part: "value", message, hint: "its output is already in its working directory" });
  } else if (stage !== task.stage && !upstream.has(stage)) {
    const message = `artifact "${use.name}" comes from ${stage}/${name}, and stage "${task.stage}" does not need stage "${stage}"`;
    report({ path: use.path, part: "value", message, hint: `add "${stage}" to the needs of stage "${task.stage}"` });
  }
}

function checkLandings(task: TaskOutline, report: Report): void {
  // With the slash, whatever lies below a path follows it directly.
  const sorted = task.use.toSorted((a, b) => (`${a.landing}/` < `${b.landing}/` ? -1 : 1));
  let top = sorted[0];
  for (const use of sorted.slice(1)) {
    if (top === undefined || !pathsOverlap(top.landing, use.landing)) {
      top = use;
      continue;
    }
    const message = `artifacts "${top.name}" and "${use.name}" land on each other, at ${top.landing} and ${use.landing}`;
    report({ path: use.path, part: "value", message, hint: "give one another place: { artifact: …, path: … }" });
  }
}

function checkCaches({ caches, outputs, use }: TaskOutline, report: Report): void {
  if (caches.length === 0 || report.isFull()) return;
  const made = outputs.map(({ name, landing, path }) => ({ what: `output "${name}"`, landing, path }));
  const used = use.map(({ name, landing, path }) => ({ what: `artifact "${name}"`, landing, path }));
  for (const problem of cacheProblems(caches, [...made, ...used])) report(problem);
}

function reportCycles(
  nodes: ReadonlyMap<string, Mention & { readonly needs: readonly Mention[] }>,
  needsOf: (name: string) => readonly string[],
  what: string,
  report: Report,
): void {
  const known = (name: string) => needsOf(name).filter((need) => nodes.has(need));
  for (const cycle of orderByNeeds(nodes.keys(), known).cycles) {
    const [first = "", second = ""] = cycle;
    const node = nodes.get(first);
    const need = node?.needs.find((mention) => mention.name === second);
    const message = `${what} need each other in a circle: ${shownCycle(cycle)}`;
    report({ path: need?.path ?? node?.path ?? [], part: "value", message, hint: "remove one of these needs" });
  }
}

/** Its beginning and its end where it is longer than a person follows. */
function shownCycle(cycle: readonly string[]): string {
  if (cycle.length <= 12) return cycle.join(" → ");
  return [...cycle.slice(0, 5), `… (${cycle.length - 7} more)`, ...cycle.slice(-2)].join(" → ");
}
