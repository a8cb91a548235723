import { narrowInputs } from "./inputs.ts";
import type { StarterPlan, StarterStage, StarterTask } from "./layout.ts";
import { firstOf, type Project, present } from "./project.ts";

/** How a package manager is used where everything has to be stated. */
interface Manager {
  readonly install: string;
  readonly run: string;
  readonly cache: Readonly<Record<string, string>>;
  readonly env: Readonly<Record<string, string>>;
  /** Files that say what is installed, beside `package.json`. */
  readonly locks: readonly string[];
  /** Whether all that it installs is in `node_modules` at the top. */
  readonly oneFolder: boolean;
}

/** What is read of a package.json. */
interface Manifest {
  readonly scripts: ReadonlyMap<string, string>;
  readonly dependencies: boolean;
  readonly workspaces: readonly string[];
  readonly manager: string;
  /** Where its entry points are. */
  readonly entries: readonly string[];
}

/** npm, Yarn, pnpm or Bun, with or without workspaces. */
export function nodePlan(project: Project): StarterPlan {
  const manifest = readManifest(project.text("package.json"));
  const manager = managerOf(project, manifest);
  const workspaces = manifest.workspaces.length > 0 || project.has("pnpm-workspace.yaml");
  const apart = manifest.dependencies && manager.oneFolder && !workspaces;
  const inputs = narrowInputs(project, /^(node_modules|\.npm|\.pnpm-store|\.yarn-cache|example|examples)$/).globs;
  const own = { inputs, ...(apart ? { use: ["node_modules"] } : {}) };
  const each = manifest.dependencies && !apart;
  const task = (script: string): StarterTask => ({
    name: script.replace(/[^a-z0-9_-]+/g, "-"),
    commands: [...(each ? [manager.install] : []), `${manager.run} ${script}`],
    ...own,
    ...(each ? { caches: manager.cache, env: manager.env } : {}),
  });
  const build = manifest.scripts.has("build")
    ? [withOutput(withoutTests(task("build"), manifest), manifest, project)]
    : [];
  const built = build.flatMap(({ outputs = {} }) => Object.entries(outputs).map(([name, path]) => useOf(name, path)));
  const checks = ["lint", "typecheck", "type-check"].filter((name) => manifest.scripts.has(name)).map(task);
  const tests = testScript(manifest).map((script): StarterTask => {
    const test = task(script);
    return { ...test, name: "test", use: [...(test.use ?? []), ...built] };
  });
  const prepare = apart ? [{ name: "prepare", tasks: [dependencies(project, manifest, manager)] }] : [];
  const first = prepare.map(({ name }) => name);
  const stages: StarterStage[] = [
    ...prepare,
    ...(build.length === 0 ? [] : [{ name: "build", ...needing(first), tasks: build }]),
    ...(checks.length + tests.length === 0
      ? []
      : [{ name: "verify", ...needing(built.length > 0 ? ["build"] : first), tasks: [...checks, ...tests] }]),
  ];
  if (stages.length > 0) return { stages, tools: ["node"] };
  const load = { name: "load", commands: ["node --check $(node -p 'require.resolve(\"./\")')"], inputs };
  return { stages: [{ name: "verify", tasks: [load] }], tools: ["node"] };
}

function needing(needs: readonly string[]): { needs?: readonly string[] } {
  return needs.length === 0 ? {} : { needs };
}

/** `dist at build/dist`, or just the name where it is the same. */
function useOf(name: string, path: string): string {
  const place = path.replace(/\/$/, "");
  return place === name ? name : `${name} at ${place}`;
}

function dependencies(project: Project, manifest: Manifest, manager: Manager): StarterTask {
  // What the package itself does at its installation needs its sources, which are not there and would make this run again.
  const lifecycle = ["preinstall", "install", "postinstall", "prepublish", "prepare"];
  const quiet = lifecycle.some((name) => manifest.scripts.has(name)) ? ["npm pkg delete scripts"] : [];
  return {
    name: "dependencies",
    notes: ["Runs again when one of these files changes; everything after it needs no network."],
    commands: [...quiet, manager.install],
    inputs: present(project, ["package.json", ...manager.locks, ".npmrc"]),
    outputs: { node_modules: "node_modules/" },
    caches: manager.cache,
    env: manager.env,
  };
}

/** Without the tests: a change of one is none of what is built, unless the script speaks of them. */
function withoutTests(task: StarterTask, { scripts }: Manifest): StarterTask {
  if (/test|spec/.test(scripts.get("build") ?? "")) return task;
  const { inputs = [], ...rest } = task;
  return { ...rest, inputs: inputs.filter((glob) => !/^(tests?|__tests__|spec)\/\*\*$/.test(glob)) };
}

/** The folder that a build writes, as far as the entry points of the package tell; none that is in the source. */
function withOutput(task: StarterTask, { entries }: Manifest, project: Project): StarterTask {
  const folders = entries.flatMap((path) => /^(?:\.\/)?([\w-]+)\/./.exec(path)?.[1] ?? []);
  const folder = folders.find((name) => name !== "node_modules" && !project.hasFolder(name));
  if (folder === undefined) return { ...task, more: ["# outputs: { app: dist/ } # names what the build makes"] };
  return { ...task, outputs: { [folder.toLowerCase()]: `${folder}/` } };
}

/** The tests; without `pretest` and `posttest` where there is a script for the tests alone. */
function testScript({ scripts }: Manifest): string[] {
  const named = ["test", "tests-only", "test:unit", "unit"].filter((name) => scripts.has(name));
  const real = named.filter((name) => !/no test specified/.test(scripts.get(name) ?? ""));
  const around = ["pretest", "posttest"].some((name) => scripts.has(name));
  return (around && real.includes("tests-only") ? ["tests-only"] : real).slice(0, 1);
}

function managerOf(project: Project, { manager }: Manifest): Manager {
  if (project.has("pnpm-lock.yaml") || manager.startsWith("pnpm@")) {
    return {
      install: `pnpm install ${project.has("pnpm-lock.yaml") ? "--frozen-lockfile " : ""}--store-dir .pnpm-store`,
      run: "pnpm run",
      cache: { pnpm: ".pnpm-store" },
      env: {},
      locks: ["pnpm-lock.yaml", "pnpm-workspace.yaml"],
      oneFolder: true,
    };
  }
  if (project.has("yarn.lock") || manager.startsWith("yarn@")) return yarn(project, manager);
  const bun = firstOf(project, ["bun.lock", "bun.lockb"]);
  if (bun !== undefined) {
    const env = { BUN_INSTALL_CACHE_DIR: ".bun-cache" };
    const cache = { bun: ".bun-cache" };
    return { install: "bun install --frozen-lockfile", run: "bun run", cache, env, locks: [bun], oneFolder: true };
  }
  const lock = firstOf(project, ["package-lock.json", "npm-shrinkwrap.json"]);
  return {
    install: `npm ${lock === undefined ? "install" : "ci"} --no-audit --no-fund`,
    run: "npm run",
    cache: { npm: ".npm" },
    env: { npm_config_cache: ".npm" },
    locks: lock === undefined ? [] : [lock],
    oneFolder: true,
  };
}

function yarn(project: Project, manager: string): Manager {
  const modern = project.has(".yarnrc.yml") || /^yarn@[2-9]/.test(manager);
  const locked = project.has("yarn.lock");
  if (!modern) {
    return {
      install: `yarn install${locked ? " --frozen-lockfile" : ""}`,
      run: "yarn run",
      cache: { yarn: ".yarn-cache" },
      env: { YARN_CACHE_FOLDER: ".yarn-cache" },
      locks: ["yarn.lock", ".yarnrc"],
      oneFolder: true,
    };
  }
  return {
    install: `yarn install${locked ? " --immutable" : ""}`,
    run: "yarn run",
    cache: { yarn: ".yarn-cache" },
    env: { YARN_CACHE_FOLDER: ".yarn-cache", YARN_ENABLE_GLOBAL_CACHE: "false" },
    locks: ["yarn.lock", ".yarnrc.yml"],
    oneFolder: false, // it may keep packages in archives, and a file at the top that finds them
  };
}

function readManifest(text: string): Manifest {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = {}; // A package.json that npm itself could not read tells nothing.
  }
  const all = recordOf(parsed);
  const scripts = new Map(Object.entries(recordOf(all["scripts"])).map(([name, script]) => [name, String(script)]));
  const { workspaces } = all;
  return {
    scripts,
    dependencies: ["dependencies", "devDependencies", "optionalDependencies"].some(
      (kind) => Object.keys(recordOf(all[kind])).length > 0,
    ),
    workspaces: textsOf(Array.isArray(workspaces) ? workspaces : recordOf(workspaces)["packages"]),
    manager: textsOf(all["packageManager"])[0] ?? "",
    entries: ["main", "module", "types", "bin", "exports"].flatMap((key) => textsOf(all[key])),
  };
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
}

/** All texts in a value, however deep. */
function textsOf(value: unknown): string[] {
  if (typeof value === "string") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(textsOf) : [];
}
