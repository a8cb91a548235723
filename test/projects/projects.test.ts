import { execFile } from "node:child_process";
import { appendFileSync, globSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parsePipeline } from "../../shared/pipeline/parse.ts";
import { type RunResult, startFarm, type TestFarm } from "../support/farm.ts";
import { startGitServer } from "../support/git-server.ts";
import { missingTools } from "../support/machine.ts";
import { say } from "../support/say.ts";
import { tempDir } from "../support/temp-dir.ts";
import { fetchProject, type Origin } from "./fetch-project.ts";

// Projects that nobody here wrote, as anybody gets them. They are fetched, so this is `npm run test:projects` and no part
// of `npm test`.

interface RealProject {
  readonly kind: string;
  readonly origin: Origin;
  /** What its pipeline and the fetching need on this machine. */
  readonly tools: readonly string[];
  /** A file to change: whatever depends on it runs again. The line that is added changes nothing else. */
  readonly source: string;
  readonly line: string;
}

const projects: readonly RealProject[] = [
  { kind: "npm", origin: { npm: "shell-quote@1.6.1" }, tools: ["npm"], source: "index.js", line: "// changed" },
  {
    kind: "Python",
    origin: { python: "itsdangerous==2.1.2" },
    tools: ["python3"],
    source: "src/itsdangerous/signer.py",
    line: "# changed",
  },
  {
    kind: "CMake",
    origin: { debian: "cjson" },
    tools: ["apt-get", "dpkg-source", "cmake", "gcc"],
    source: "cJSON.c",
    line: "/* changed */",
  },
  {
    kind: "Make",
    origin: { debian: "http-parser" },
    tools: ["apt-get", "dpkg-source", "make", "gcc"],
    source: "http_parser.c",
    line: "/* changed */",
  },
  {
    kind: "Perl",
    origin: { debian: "libpath-tiny-perl" },
    tools: ["apt-get", "dpkg-source", "perl", "make"],
    source: "t/basic.t",
    line: "# changed",
  },
  {
    kind: "Go",
    origin: { go: "github.com/fatih/color@v1.18.0" },
    tools: ["go"],
    source: "color.go",
    line: "// changed",
  },
];

const asked = process.env["MILLRACE_PROJECTS"] === "1";

describe.skipIf(!asked)("a pipeline that init wrote, unedited,", () => {
  let farm: TestFarm;
  beforeAll(async () => {
    farm = await startFarm({ agents: 1, slots: 2 });
  });
  afterAll(() => farm.remove());

  describe.each(projects)("for a $kind project, $origin,", ({ kind, origin, tools, source, line }) => {
    it.skipIf(missingTools(tools).length > 0)(
      "succeeds, is cached, and runs again only for what it reads",
      async () => {
        const home = tempDir();
        const version = fetchProject(origin, join(home, "fetched"));
        const clone = await publish(join(home, "fetched"), home, kind.toLowerCase());

        const written = await farm.cli(["init", clone, "--json"]);
        expect(JSON.parse(written.stdout)).toMatchObject({ kind });
        expectNarrow(join(clone, "millrace.yaml"), clone);

        const cold = await farm.run(clone);
        expect(outcome(cold)).toEqual({ exitStatus: 0, cached: 0 });
        const warm = await farm.run(clone);
        expect(outcome(warm)).toEqual({ exitStatus: 0, cached: cold.tasks.length });

        const readme = readdirSync(clone).find((name) => /^readme/i.test(name));
        appendFileSync(join(clone, readme ?? expect.fail("it has no README")), "\nOne more sentence.\n");
        expect(outcome(await farm.run(clone))).toEqual({ exitStatus: 0, cached: cold.tasks.length });

        appendFileSync(join(clone, source), `\n${line}\n`);
        const changed = await farm.run(clone);
        expect(changed.exitStatus).toBe(0);
        expect(changed.tasks.filter(({ cached }) => !cached)).toHaveLength(1);
        const times = [cold, warm, changed].map(({ durationMs }) => `${durationMs} ms`);
        say(`${kind}: ${version}: cold ${times[0]}, again ${times[1]}, source changed ${times[2]}`);
      },
      600_000,
    );
  });
});

/** Makes a repository of a source, pushes it to a git server over http, and gives a clone of it. */
async function publish(source: string, home: string, name: string): Promise<string> {
  const server = await startGitServer();
  const { url: address } = server.create(`${name}.git`);
  const git = (...args: string[]) => runGit(["-C", source, ...args]);
  await git("init", "--quiet", "--initial-branch=main");
  await git("add", "--all");
  await git("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "--message=all");
  await git("push", "--quiet", address, "main");
  const clone = join(home, name);
  await runGit(["clone", "--quiet", address, clone]);
  return clone;
}

/** Not synchronously: the server is in this process. */
async function runGit(args: readonly string[]): Promise<void> {
  await promisify(execFile)("git", args);
}

/** Every task says what it reads, and none reads all. */
function expectNarrow(file: string, clone: string): void {
  const { pipeline } = parsePipeline(readFileSync(file, "utf8"), file);
  const tasks = pipeline?.stages.flatMap((stage) => stage.tasks) ?? [];
  expect(tasks.length).toBeGreaterThan(0);
  for (const { inputs } of tasks) {
    const patterns = inputs?.map(({ pattern }) => pattern) ?? expect.fail("a task reads the whole source");
    const read = globSync(patterns, { cwd: clone });
    expect(read.length).toBeGreaterThan(0);
    expect(read.filter((path) => /^(readme|\.git\b|debian)/i.test(path))).toEqual([]);
  }
}

function outcome({ exitStatus, tasks }: RunResult) {
  return { exitStatus, cached: tasks.filter(({ cached }) => cached).length };
}
