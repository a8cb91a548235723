import { type DraftTask, identifier, type ReportGap } from "./draft.ts";
import { entriesAt, type Foreign, textAt, valueAt } from "./foreign-yaml.ts";

// What well-known actions come to. Others are programs that only their own system runs.

/** What is known of the job that a step is in. */
export interface ActionPlace {
  readonly task: DraftTask;
  /** The line of the step. */
  readonly line: number;
  readonly report: ReportGap;
  /** Translates a text in it. */
  readonly translate: (text: string) => string;
  /** Names of artifacts that jobs before this one make, by the name that is written. */
  readonly artifacts: ReadonlySet<string>;
  readonly artifactName: (foreign: string) => string;
}

/** Lines for the script that an action comes to; undefined for one that nobody knows here. */
export function actionLines(uses: string, step: Foreign, place: ActionPlace): readonly string[] | undefined {
  const action = uses.split("@", 1)[0] ?? "";
  const settings = valueAt(step, "with");
  const setting = (key: string) => textAt(settings, key);
  if (action === "actions/checkout") return checkout(settings, place);
  const tool = /^(?:actions|ruby)\/setup-(node|python|go|java|ruby)$/.exec(action)?.[1];
  if (tool !== undefined) return setupTool(tool, setting, place);
  if (action === "actions/cache" || action === "actions/cache/restore") return cache(setting("path") ?? "", place);
  if (action === "actions/upload-artifact") return upload(setting("name") ?? "artifact", setting("path") ?? "", place);
  if (action === "actions/download-artifact") return download(setting("name"), setting("path"), place);
  return undefined;
}

function checkout(settings: Foreign | undefined, { line, report }: ActionPlace): readonly string[] {
  for (const [key, { line: at }] of entriesAt(settings)) {
    if (key === "fetch-depth" || key === "persist-credentials")
      report(at, `\`${key}\`: tasks get the files of one commit, without \`.git\``);
    else report(at === 0 ? line : at, `\`${key}\` of actions/checkout has no counterpart: a run is about one source`);
  }
  return [];
}

const toolNames: Readonly<Record<string, string>> = { python: "python3" };
/** What a package manager keeps, where it is told to, and by which variable. */
const managers: Readonly<Record<string, readonly [path: string, variable: string]>> = {
  npm: [".npm", "npm_config_cache"],
  yarn: [".yarn-cache", "YARN_CACHE_FOLDER"],
  pip: [".pip", "PIP_CACHE_DIR"],
};

function setupTool(tool: string, setting: (key: string) => string | undefined, place: ActionPlace): readonly string[] {
  const { task, line, report, translate } = place;
  const wanted = translate(setting(`${tool}-version`) ?? "").trim();
  const version =
    /^(\$\{\{ matrix\.\w+ \}\})(?:\.x)*$/.exec(wanted)?.[1] ?? /^v?(\d+(?:\.\d+)*)(?:\.x)*$/.exec(wanted)?.[1];
  if (version === undefined && wanted !== "")
    report(line, `${tool} "${wanted}": which version that is, nobody can tell here; it is any`);
  if (setting(`${tool}-version-file`) !== undefined)
    report(line, `\`${tool}-version-file\`: write the version under \`tools\``);
  task.tools = { ...task.tools, [toolNames[tool] ?? tool]: version ?? "any" };
  const manager = setting("cache");
  const known = manager === undefined ? undefined : managers[manager];
  if (known !== undefined && manager !== undefined) {
    task.caches = { ...task.caches, [manager]: known[0] };
    task.env = { ...task.env, [known[1]]: known[0] };
  } else if (manager !== undefined && manager !== "false")
    report(line, `\`cache: ${manager}\`: name its folder under \`caches\``);
  return [];
}

/** Folders of a home, which is empty for each task here, and where they are told to be instead. */
const homes: Readonly<Record<string, readonly [name: string, path: string, line: string]>> = {
  "~/.npm": ["npm", ".npm", "export npm_config_cache=$PWD/.npm"],
  "~/.cache/pip": ["pip", ".pip", "export PIP_CACHE_DIR=$PWD/.pip"],
  "~/.cache/go-build": ["go-build", ".go-build", "export GOCACHE=$PWD/.go-build"],
  "~/go/pkg/mod": ["go-modules", ".go-modules", "export GOMODCACHE=$PWD/.go-modules GOFLAGS=-modcacherw"],
  "~/.cargo/registry": ["cargo", ".cargo-home", "export CARGO_HOME=$PWD/.cargo-home"],
  "~/.gradle/caches": ["gradle", ".gradle-home", "export GRADLE_USER_HOME=$PWD/.gradle-home"],
};

function cache(paths: string, { task, line, report }: ActionPlace): readonly string[] {
  return paths.split("\n").flatMap((text) => {
    const path = text.trim().replace(/\/$/, "");
    const home = homes[path];
    if (home !== undefined) {
      task.caches = { ...task.caches, [home[0]]: home[1] };
      return [home[2]];
    }
    if (isPlainPath(path)) task.caches = { ...task.caches, [cacheName(path)]: path };
    else if (path !== "")
      report(line, `the cache of \`${path}\`: a named cache is a folder in the working directory; see \`caches\``);
    return [];
  });
}

function upload(name: string, path: string, place: ActionPlace): readonly string[] {
  const { task, line, report, translate, artifactName } = place;
  const paths = path
    .split("\n")
    .map((text) => text.trim().replace(/^\.\//, "").replace(/\/$/, ""))
    .filter((text) => text !== "");
  const [only] = paths;
  if (paths.length !== 1 || only === undefined || !isPlainPath(only)) {
    report(
      line,
      `the artifact "${name}" of \`${paths.join(" ")}\`: an output is one file or folder; put them into one`,
    );
    return [];
  }
  const written = artifactName(translate(name));
  const isOfAll = task.matrix !== undefined && !written.includes("${{ matrix.");
  if (isOfAll) report(line, `the artifact "${name}" of each variant has a name of its own, \`${written}-…\``);
  task.outputs = { ...task.outputs, [isOfAll ? `${written}-\${{ variant }}` : written]: only };
  return [];
}

function download(name: string | undefined, path: string | undefined, place: ActionPlace): readonly string[] {
  const { task, line, report, translate, artifactName, artifacts } = place;
  const artifact = name === undefined ? "" : artifactName(translate(name));
  if (name === undefined || !artifacts.has(artifact)) {
    report(line, `which artifacts come here cannot be told: name them under \`use\``);
    return [];
  }
  const landing = path?.trim().replace(/^\.\//, "").replace(/\/$/, "") ?? "";
  if (!isPlainPath(landing))
    report(line, `the artifact "${name}" lands at \`${artifact}/\` here, not in the working directory itself`);
  task.use = [
    ...(task.use ?? []),
    isPlainPath(landing) && landing !== artifact ? { artifact, path: landing } : artifact,
  ];
  return [];
}

/** One that names a file or folder of the working directory, and no pattern. */
export function isPlainPath(path: string): boolean {
  return path !== "" && path !== "." && !/^[/~$!]|[*?{}[\]$]|(^|\/)\.\.(\/|$)/.test(path);
}

/** The name of a cache at a path. */
export function cacheName(path: string): string {
  return identifier(path.replace(/^\.+/, "")).toLowerCase().replace(/^_+/, "") || "cache";
}
