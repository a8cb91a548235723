import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { startFarm, type TestFarm } from "../support/farm.ts";
import { pidOf } from "../support/farm-processes.ts";
import { startGitServer } from "../support/git-server.ts";
import { tempDir } from "../support/temp-dir.ts";

const pipeline = `name: shop
stages:
  build:
    tasks:
      app: { run: "cat src/*.txt; echo at $MILLRACE_COMMIT on $MILLRACE_BRANCH", cache: false }
`;

interface Shown {
  readonly git?: {
    readonly branch: string;
    readonly commit: string;
    readonly dirty: boolean;
    readonly previousCommit?: string;
    readonly commits: readonly { readonly authorName: string; readonly subject: string }[];
    readonly changedPaths?: readonly string[];
  };
}

describe("runs of what is in no folder here", () => {
  let farm: TestFarm;
  beforeAll(async () => {
    farm = await startFarm({ agents: 1, env: { MILLRACE_TOOL: "git" } });
  });
  afterAll(() => farm.remove());

  const show = async (run: string) => JSON.parse((await farm.cli(["show", run, "--json"])).stdout) as Shown;

  test("a pushed commit runs, and the next one says what is new since, and by whom", async () => {
    const server = await startGitServer();
    const repository = server.create("shop.git");
    const begun = repository.push({ "millrace.yaml": pipeline, "src/a.txt": "one\n" }, { message: "begin" });
    const first = await farm.cli(["run", "--git", repository.url]);
    expect(first).toMatchObject({ status: 0 });
    expect(first.stdout).toContain("one");
    expect(first.stdout).toContain(`at ${begun} on main`);
    expect(first.stderr).toMatch(/agent-1 fetches the commit\n(.*\n)*submitted as run_1/);

    repository.push({ "src/b.txt": "two\n" }, { message: "add two", author: "Bob Builder <bob@example.org>" });
    const commit = repository.push({ "src/c.txt": "three\n" }, { message: "add three" });
    const second = await farm.cli(["run", "--git", repository.url, "--ref", "main", "--json"]);
    expect(second.status).toBe(0);
    const { run } = JSON.parse(second.stdout) as { run: string };
    expect((await show(run)).git).toMatchObject({
      ...{ branch: "main", commit, dirty: false, previousCommit: begun },
      commits: [
        { authorName: "Ann Author", subject: "add three" },
        { authorName: "Bob Builder", subject: "add two" },
      ],
      changedPaths: ["src/b.txt", "src/c.txt"],
    });
    const text = (await farm.cli(["show", run])).stdout;
    expect(text).toContain(`2 commits since the last run, of ${begun.slice(0, 12)}, 2 paths changed`);
    expect(text).toMatch(/Bob Builder <bob@example.org> .* add two/);
  });

  test("a commit whose pipeline is in TypeScript is imported, then evaluated, and follows the one before", async () => {
    const server = await startGitServer();
    const repository = server.create("typed.git");
    const program = 'export default { name: "p", stages: { s: { tasks: { t: { run: "cat a.txt" } } } } };';
    const begun = repository.push({ "millrace.ts": program, "a.txt": "one\n" });
    const first = await farm.cli(["run", "--git", repository.url]);
    expect(first.stderr).toMatch(/agent-1 fetches the commit\n(.*\n)*the pipeline file is evaluated: agent-1\n/);
    expect(first.stdout).toContain("one");
    repository.push({ "a.txt": "two\n" });
    const second = await farm.cli(["run", "--git", repository.url, "--json"]);
    const { run } = JSON.parse(second.stdout) as { run: string };
    expect((await show(run)).git).toMatchObject({ previousCommit: begun, changedPaths: ["a.txt"] });
  });

  test("what cannot be run is said before there is a run", async () => {
    const server = await startGitServer();
    const repository = server.create("shop.git");
    repository.push({ "millrace.yaml": pipeline });
    const missing = await farm.cli(["run", "--git", repository.url, "--ref", "no-such-branch"]);
    expect(missing.status).toBe(2);
    expect(missing.stderr).toContain('has no branch or tag "no-such-branch"');
    const both = await farm.cli(["run", ".", "--git", repository.url]);
    expect(both).toMatchObject({ status: 2, stderr: expect.stringContaining("name one") });
  });

  test("a folder that is checked out names its commit, and whether it has changes", async () => {
    const server = await startGitServer();
    const repository = server.create("shop.git");
    const commit = repository.push({ "millrace.yaml": pipeline, "src/a.txt": "one\n" });
    const clean = await farm.run(repository.work);
    expect((await show(clean.run)).git).toMatchObject({ branch: "main", commit, dirty: false, commits: [] });
    execFileSync("touch", [join(repository.work, "src/new.txt")]);
    const dirty = await farm.run(repository.work);
    expect((await show(dirty.run)).git).toMatchObject({ commit, dirty: true });
    expect((await farm.cli(["show", dirty.run])).stdout).toContain("with changes that are in no commit");
  });

  test.each(["gzip", "zstd"])("a tar that was packed by %s runs", async (packer) => {
    const server = await startGitServer();
    const repository = server.create("shop.git");
    repository.push({ "millrace.yaml": pipeline, "src/a.txt": `packed by ${packer}\n` });
    const tar = join(tempDir(), "source.tar");
    execFileSync("tar", [
      "-c",
      "-f",
      tar,
      `--use-compress-program=${packer}`,
      "-C",
      repository.work,
      "millrace.yaml",
      "src",
    ]);
    expect(await farm.cli(["run", "--archive", tar])).toMatchObject({
      status: 0,
      stdout: expect.stringContaining(`packed by ${packer}`),
    });
  });
});

describe("an import that is struck", () => {
  let farm: TestFarm;
  beforeAll(async () => {
    farm = await startFarm({ agents: 2, slots: 1, env: { MILLRACE_TOOL: "git" } });
  });
  afterAll(() => farm.remove());

  /** A repository whose server lets nobody have anything before `release`. */
  async function heldRepository() {
    const server = await startGitServer();
    const repository = server.create("shop.git");
    repository.push({ "millrace.yaml": pipeline, "src/a.txt": "one\n" });
    const held = Promise.withResolvers<void>();
    server.hold(() => held.promise);
    return { repository, release: () => held.resolve() };
  }

  const idle = async () => {
    const { stdout } = await farm.cli(["agents", "--json"]);
    const { agents } = JSON.parse(stdout) as { agents: { slotsUsed: number; state: string }[] };
    expect(agents.map(({ slotsUsed }) => slotsUsed)).toEqual([0, 0]);
    expect(agents.some(({ state }) => state === "online")).toBe(true);
  };
  const patience = { timeout: 30_000, interval: 200 };

  test("Ctrl-C ends it on the agent, and no run is started", async () => {
    const { repository, release } = await heldRepository();
    const cli = farm.startCli(["run", "--git", repository.url]);
    await cli.line(/agent-. fetches/);
    cli.process.kill("SIGINT");
    expect(await cli.result).toMatchObject({ status: 3, stderr: expect.stringContaining("no run was started") });
    await vi.waitFor(idle, patience);
    release();
    expect((await farm.cli(["runs", "--json"])).stdout).not.toContain("run_1");
  });

  test("its coordinator is killed: nothing of it remains, and the next one goes well", async () => {
    const { repository, release } = await heldRepository();
    const cli = farm.startCli(["run", "--git", repository.url]);
    await cli.line(/agent-. fetches/);
    process.kill(pidOf(farm, "coordinator"), "SIGKILL");
    expect((await cli.result).status).toBe(3);
    await vi.waitFor(idle, patience);
    release();
    expect(await farm.cli(["run", "--git", repository.url])).toMatchObject({ status: 0 });
    expect((await farm.cli(["runs", "--json"])).stdout).not.toContain("run_2");
  });

  test("its agent is killed: another one does it", async () => {
    const { repository, release } = await heldRepository();
    const cli = farm.startCli(["run", "--git", repository.url]);
    const [agent = ""] = /agent-./.exec(await cli.line(/agent-. fetches/)) ?? [];
    const other = agent === "agent-1" ? "agent-2" : "agent-1";
    // So that its next start does not take it: it would be as good, but prove less.
    await farm.cli(["agents", "drain", agent]);
    process.kill(pidOf(farm, agent), "SIGKILL");
    await cli.line(new RegExp(`${other} fetches`));
    release();
    expect(await cli.result).toMatchObject({ status: 0 });
  });
});
