import type { Project } from "./project.ts";

// Which files of a source a build can depend on: all but what is written for people and for other services.

/** What a task reads. */
export interface NarrowInputs {
  readonly globs: readonly string[];
  /**
   * Documents that a manifest names, for example as the long description of a package: a build looks whether they are
   * there, and their text changes nothing that a test would see. A task makes empty ones.
   */
  readonly stubs: readonly string[];
}

const documents =
  /^(readme|changes|changelog|history|news|releases?|authors|contributors|contributing|code[-_]of[-_]conduct|conduct|security|support|todo|thanks|maintainers|citation|upgrading|governance|roadmap|faq)([-_.][a-z0-9]*)*$/i;
/** Names that are also those of code: only without an ending, or with that of a text. */
const endingOfText = /^[^.]*(\.(md|mdx|mkdn|markdown|rst|txt|adoc|asciidoc|org|cff|ya?ml))?$/i;
const services =
  /^(millrace\.yaml|\.gitattributes|\.gitmodules|\.mailmap|\.editorconfig|\.travis\.yml|\.gitlab-ci\.yml|\.appveyor\.yml|appveyor\.yml|azure-pipelines\.yml|bitbucket-pipelines\.yml|\.cirrus\.yml|\.drone\.yml|\.woodpecker\.ya?ml|jenkinsfile|\.readthedocs\.ya?ml|\.codecov\.yml|codecov\.yml|renovate\.json|\.pre-commit-config\.yaml|\.dockerignore|\.all-contributorsrc)$/i;
const foldersLeftOut =
  /^(docs?|documentation|website|site|debian|\.pc|\.github|\.gitlab|\.circleci|\.woodpecker|\.vscode|\.idea|\.devcontainer|\.changeset|\.millrace)$/i;
/** Where a build says which folders and documents it wants. */
const manifests = [
  ...["pyproject.toml", "setup.cfg", "setup.py", "CMakeLists.txt", "configure.ac", "Makefile.am", "Makefile"],
  ...["meson.build", "Cargo.toml", "Build.PL", "Makefile.PL"],
];
/** Of one ending, so many files at the top are named by `*.ending`: the next one then belongs to them. */
const groupedFrom = 2;
const grouped =
  /\.(c|cc|cpp|cxx|h|hh|hpp|hxx|s|js|cjs|mjs|jsx|ts|cts|mts|tsx|py|pm|pl|rb|php|sh|java|kt|rs|go|lua|sql)$/;
/** Texts of tests that are looked into. */
const testsRead = 300;

/**
 * Globs over the source without documents and settings of other services.
 * @param leave more names at the top, of files or folders, that this kind of project does not need
 */
export function narrowInputs(project: Project, leave: RegExp = /^$/): NarrowInputs {
  const asked = manifests.map(project.text).join("\n");
  const read = quotedInTests(project);
  const globs: string[] = [];
  const stubs: string[] = [];
  const endings = new Map<string, string[]>();
  for (const [name, isFolder] of topEntries(project)) {
    if (leave.test(name)) continue;
    if (isFolder) {
      if (!foldersLeftOut.test(name) || (!name.startsWith(".") && wantsFolder(project, name))) globs.push(`${name}/**`);
    } else if (services.test(name)) {
      // For others than a build.
    } else if (documents.test(name) && endingOfText.test(name)) {
      if (read.has(name)) globs.push(name);
      else if (mentions(asked, name)) stubs.push(name);
    } else {
      const ending = grouped.exec(name)?.[0] ?? name;
      endings.set(ending, [...(endings.get(ending) ?? []), name]);
    }
  }
  for (const [ending, names] of endings) {
    if (names.length >= groupedFrom) globs.push(`*${ending}`);
    else globs.push(...names.map(escaped));
  }
  return { globs, stubs };
}

/** The command that makes what is only looked for; none where nothing is. */
export function stubCommands({ stubs }: NarrowInputs): string[] {
  return stubs.length === 0 ? [] : [`touch ${stubs.join(" ")} # wanted by the build, read by no test`];
}

function topEntries({ files }: Project): [string, boolean][] {
  const entries = new Map(files.map((path) => [path.split("/", 1)[0] ?? "", path.includes("/")]));
  return [...entries];
}

/** Folders of documents that a build goes through: one of these would miss it. */
function wantsFolder(project: Project, name: string): boolean {
  const builds = ["CMakeLists.txt", "Makefile.am", "configure.ac", "meson.build", "configure"].map(project.text);
  return builds.some((text) => new RegExp(`(^|[\\s("'/=])${name}($|[\\s)"'/])`, "m").test(text));
}

function mentions(text: string, name: string): boolean {
  return text.split(/[^\w.-]+/).includes(name);
}

/** Names of documents that tests have in quotes: they read them. */
function quotedInTests(project: Project): ReadonlySet<string> {
  const tests = project.files.filter((path) =>
    /(^|\/)(tests?|t|spec|specs|testing|__tests__)\/|[_.-](test|spec)\./.test(path),
  );
  const texts = tests.slice(0, testsRead).map(project.text);
  return new Set(
    texts.flatMap((text) =>
      [...text.matchAll(/["'/]([A-Z][A-Za-z]*\.(?:md|rst|txt))["']/g)].map(([, name = ""]) => name),
    ),
  );
}

/** A name as a glob that matches nothing else. */
function escaped(name: string): string {
  return name.replace(/[*?[\]{}!\\]/g, "\\$&");
}
