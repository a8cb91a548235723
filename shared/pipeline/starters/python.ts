import { narrowInputs, stubCommands } from "./inputs.ts";
import type { StarterPlan, StarterTask } from "./layout.ts";
import { firstOf, type Project, present } from "./project.ts";

/** In the order in which they are looked for: what tests need comes before what developers need. */
const testRequirements = [
  ...["requirements/tests.txt", "requirements/test.txt", "requirements-tests.txt", "requirements-test.txt"],
  ...["tests-requirements.txt", "test-requirements.txt", "test_requirements.txt", "tests/requirements.txt"],
  ...["test/requirements.txt", "requirements_test.txt", "requirements/testing.txt"],
  ...["requirements/dev.txt", "requirements-dev.txt", "dev-requirements.txt", "requirements_dev.txt"],
];
const testExtras = ["test", "tests", "testing", "dev"];

/** What there is to install before the tests run. */
interface Needs {
  /** Files with requirements, one a line. */
  readonly files: readonly string[];
  /** Requirements by name. */
  readonly named: readonly string[];
  /** Whether pyproject.toml says the rest, so that it is read each time. */
  readonly fromProject: boolean;
  /** Whether these are all: only then can the tests do without the network. */
  readonly complete: boolean;
}

/** pyproject.toml, setup.py or requirements.txt; pytest or unittest. */
export function pythonPlan(project: Project): StarterPlan {
  const pytest = usesPytest(project);
  const needs = needsOf(project, pytest);
  const inputs = narrowInputs(project, /^(\.venv|venv|\.tox|\.nox|build|dist|examples?|PKG-INFO|.*\.egg-info)$/);
  const isPackage =
    project.has("setup.py") || /^\[(project|build-system|tool\.poetry)\]/m.test(project.text("pyproject.toml"));
  const list = needs.fromProject ? [...projectList, "-r needs.txt"] : [];
  const arguments_ = [...needs.files.map((file) => `-r ${file}`), ...needs.named.map(quoted)];
  const wanted = [...arguments_, ...(needs.fromProject ? ["-r needs.txt"] : [])];
  const own = [...(isPackage ? ["."] : [])];
  const run = pytest ? ".venv/bin/python -m pytest" : `.venv/bin/python -m unittest discover${startFolder(project)}`;
  const apart = wanted.length > 0 && needs.complete;
  const caches = { caches: { pip: ".pip" }, env: { PIP_CACHE_DIR: ".pip" } };
  const offline = apart ? "--no-index --find-links wheels " : "";
  const installs = [...(apart && needs.fromProject ? ["-r wheels/needs.txt"] : []), ...arguments_, ...own];
  const test: StarterTask = {
    name: "test",
    commands: [
      ...stubCommands(inputs),
      "python3 -m venv .venv",
      ...(installs.length === 0 ? [] : [`.venv/bin/pip install --quiet ${offline}${installs.join(" ")}`]),
      run,
    ],
    inputs: inputs.globs,
    ...(apart ? { use: ["wheels"] } : installs.length === 0 ? {} : caches),
  };
  const tools = ["python3"];
  if (!apart) return { stages: [{ name: "verify", tasks: [test] }], tools };
  const dependencies: StarterTask = {
    name: "dependencies",
    notes: ["Runs again when one of these files changes; the tests then install from here and need no network."],
    commands: [
      ...list.slice(0, -1),
      "mkdir wheels",
      `python3 -m pip wheel --quiet --wheel-dir wheels ${wanted.join(" ")}`,
      ...(needs.fromProject ? ["cp needs.txt wheels/"] : []),
    ],
    inputs: dependencyFiles(project, needs),
    outputs: { wheels: "wheels/" },
    ...caches,
  };
  return {
    stages: [
      { name: "prepare", tasks: [dependencies] },
      { name: "verify", needs: ["prepare"], tasks: [test] },
    ],
    tools,
  };
}

/** Writes what pyproject.toml asks for into `needs.txt`: to build the package, to run it, to test it. */
const projectList = [
  [
    "python3 - > needs.txt <<'END'",
    "import tomllib",
    'about = tomllib.load(open("pyproject.toml", "rb"))',
    'project, groups = about.get("project", {}), about.get("dependency-groups", {})',
    'extras = project.get("optional-dependencies", {})',
    'needs = about.get("build-system", {}).get("requires", ["setuptools"]) + project.get("dependencies", [])',
    `for name in ${JSON.stringify(testExtras)}:`,
    "    needs += extras.get(name, []) + [need for need in groups.get(name, []) if isinstance(need, str)]",
    'print(*needs, sep="\\n")',
    "END",
  ].join("\n"),
] as const;

function needsOf(project: Project, pytest: boolean): Needs {
  const pyproject = project.text("pyproject.toml");
  const fromProject = /^\[(project|build-system)\]/m.test(pyproject);
  const tests = firstOf(project, testRequirements);
  const files = [...present(project, ["requirements.txt"]), ...(tests === undefined ? [] : [tests])];
  const declared = project.has("setup.py") || project.has("setup.cfg") ? legacyNeeds(project) : [];
  const named = [
    ...(project.has("setup.py") ? ["setuptools", "wheel"] : []),
    ...(declared ?? []),
    ...(tests === undefined ? toxNeeds(project) : []),
    ...(pytest && !(tests !== undefined && /^pytest\b/m.test(project.text(tests))) ? ["pytest"] : []),
  ];
  // Poetry's own tables and a computed list say nothing that we could read.
  const complete = declared !== undefined && !/^\[tool\.poetry\.dependencies\]/m.test(pyproject);
  return { files, named: [...new Set(named)], fromProject, complete };
}

/** Requirements of setup.cfg or setup.py; undefined where setup.py computes them. */
function legacyNeeds(project: Project): string[] | undefined {
  const cfg = /^install_requires\s*=\s*(.*(?:\n[ \t]+.*)*)/m.exec(project.text("setup.cfg"))?.[1] ?? "";
  const named = cfg
    .split(/[\n;]/)
    .map((line) => line.replace(/#.*/, "").trim())
    .filter((line) => line !== "");
  const setup = project.text("setup.py");
  if (!/install_requires|tests_require/.test(setup)) return named;
  const literal = /install_requires\s*=\s*\[([^\]]*)\]/.exec(setup)?.[1];
  if (literal === undefined || !/^(\s*(["'])[^"']*\2\s*,?|\s*#.*\n)*\s*$/.test(literal)) return undefined;
  return [...named, ...[...literal.matchAll(/(["'])(.*?)\1/g)].map(([, , need = ""]) => need)];
}

/** Requirements under `[testenv]` of tox.ini: not those of its other environments, and no files. */
function toxNeeds(project: Project): string[] {
  const section = /^\[testenv\]\n((?:(?!\[).*\n?)*)/m.exec(project.text("tox.ini"))?.[1] ?? "";
  const deps = /^deps\s*=(.*(?:\n[ \t]+.*)*)/m.exec(section)?.[1] ?? "";
  return deps
    .split("\n")
    .map((line) => line.replace(/#.*/, "").trim())
    .filter((line) => /^[A-Za-z0-9]/.test(line) && !line.includes(":"));
}

/** What requirements say, and what they include. */
function dependencyFiles(project: Project, { files, fromProject }: Needs): string[] {
  const found = new Set(files);
  for (const file of found) {
    for (const [, included = ""] of project.text(file).matchAll(/^-[rc]\s+(\S+)/gm)) {
      const path = [...file.split("/").slice(0, -1), ...included.split("/")].filter((part) => part !== ".").join("/");
      if (project.has(path)) found.add(path);
    }
  }
  return [...(fromProject ? ["pyproject.toml"] : []), ...found];
}

function usesPytest(project: Project): boolean {
  const files = [
    "pyproject.toml",
    "setup.cfg",
    "setup.py",
    "tox.ini",
    "noxfile.py",
    "requirements.txt",
    ...testRequirements,
  ];
  if (project.files.some((path) => /(^|\/)(conftest\.py|pytest\.ini)$/.test(path))) return true;
  if (files.some((file) => /\bpytest\b/.test(project.text(file)))) return true;
  const tests = project.files.filter((path) => /(^|\/)(test_[^/]*|[^/]*_test)\.py$/.test(path)).slice(0, 50);
  return tests.some((path) => /^\s*(import|from) pytest\b/m.test(project.text(path)));
}

/** unittest looks below the top only into packages, so folders of tests that are none are named. */
function startFolder(project: Project): string {
  const folder = ["tests", "test"].find(project.hasFolder);
  return folder === undefined ? "" : project.has(`${folder}/__init__.py`) ? ` -t . -s ${folder}` : ` -s ${folder}`;
}

function quoted(need: string): string {
  return /^[\w.-]+$/.test(need) ? need : `'${need.replaceAll("'", '"')}'`;
}
