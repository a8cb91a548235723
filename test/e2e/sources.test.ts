import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { submitArchive } from "../../cli/submit-archive.ts";
import { submitSource } from "../../cli/submit-source.ts";
import { RunService } from "../../proto/gen/millrace/v1/run_pb.ts";
import { grpcTransport } from "../../shared/rpc/grpc-transport.ts";
import { openStatCache } from "../../shared/stat-cache/sqlite-stat-cache.ts";
import { project as projectOf, startFarm, type TestFarm } from "../support/farm.ts";
import { pidOf } from "../support/farm-processes.ts";
import { createRepository, startGitServer } from "../support/git-server.ts";
import { type LossyWay, lossyWay } from "../support/lossy-way.ts";
import { processesAbout } from "../support/process-state.ts";
import { hasSshd, startSshServer } from "../support/ssh-server.ts";
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
    const part = server.create("part.git");
    part.push({ "a.txt": "1\n" });
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", part.path, "vendor/part");
    repository.push({});
    const submodule = await farm.cli(["run", "--git", repository.url]);
    expect(submodule.status).toBe(2);
    expect(submodule.stderr).toContain('"vendor/part" is a submodule, and submodules are not imported: add its files');
    repository.git("rm", "--quiet", "-r", "-f", "vendor", ".gitmodules");
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 12345\n`;
    repository.git("config", "filter.lfs.clean", "cat"); // as git-lfs would leave it
    repository.push({ ".gitattributes": "*.mp4 filter=lfs diff=lfs merge=lfs -text\n", "media/film.mp4": pointer });
    const lfs = await farm.cli(["run", "--git", repository.url]);
    expect(lfs.status).toBe(2);
    expect(lfs.stderr).toContain(
      '"media/film.mp4" is kept in Git LFS, which imports do not read: keep the file in git',
    );
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

describe("a source that is struck on its way", () => {
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

  /** Submits a folder and an archive on ways on which the coordinator does not get them, and both where its answers are lost. */
  function submittedOnLossyWays(project: string) {
    const over = new AbortController();
    onTestFinished(() => over.abort());
    const content = "which the coordinator may never see";
    const ways: LossyWay[] = [];
    /** Each has its own: clients of one address share a connection. */
    const connection = async (loses: "requests" | "answers") => {
      const way = await lossyWay(farm.grpc, loses === "requests" ? content : project, loses);
      ways.push(way);
      const transport = grpcTransport({ address: way.address, token: farm.token });
      onTestFinished(() => transport.close());
      return { transport, runs: createClient(RunService, transport) };
    };
    const names = (["requests", "answers"] as const).flatMap((loses) => {
      const files = { "millrace.yaml": pipeline, "src/a.txt": `${content}: ${loses}\n` };
      const dir = projectOf(files);
      const file = join(tempDir(), "source.tar");
      execFileSync("tar", ["-c", "-f", file, "-C", dir, ...Object.keys(files)]);
      const submission = () => ({ run: { project, idempotencyKey: randomUUID() }, signal: over.signal });
      const onProblem = (error: Error) => expect.unreachable(error.message);
      const statCache = openStatCache({ folder: tempDir(), source: dir, startedMs: Date.now(), onProblem });
      onTestFinished(async () => (await statCache).close());
      return [
        connection(loses).then((to) => submitSource(to, { ...submission(), dir, statCache })),
        connection(loses).then((to) => submitArchive(to, { ...submission(), file })),
      ];
    });
    const submitted = Promise.all(names);
    submitted.catch(() => {}); // awaited by the test
    return { ways, submitted };
  }

  test("its coordinator is killed: the next start is asked for all of it again, and none is run twice", async () => {
    const { repository, release } = await heldRepository();
    const cli = farm.startCli(["run", "--git", repository.url]);
    expect(await farm.cli(["project", "add", "kept"])).toMatchObject({ status: 0 });
    const runsOf = async (project: string) =>
      JSON.parse((await farm.cli(["runs", "--project", project, "--json"])).stdout).runs;
    const { ways, submitted } = submittedOnLossyWays("kept");
    await cli.line(/agent-. fetches/);
    await vi.waitFor(() => expect(ways.map((way) => way.lost())).toEqual([1, 1, 1, 1]), patience);
    await vi.waitFor(async () => expect(await runsOf("kept")).toHaveLength(2), patience);
    for (const way of ways) way.mend();
    process.kill(pidOf(farm, "coordinator"), "SIGKILL");
    await cli.line(/the coordinator is away/);
    release();
    const { status, stdout, stderr } = await cli.result;
    expect({ status, stderr }).toMatchObject({ status: 0, stderr: expect.stringContaining("submitted as run_") });
    expect(stdout).toContain("one");
    expect(new Set(await submitted).size).toBe(4);
    await vi.waitFor(idle, patience);
    expect(await runsOf("kept")).toHaveLength(4);
    expect(await runsOf("default")).toHaveLength(1);
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

  test.skipIf(!hasSshd)(
    "a project's repository is read by SSH, and a killed agent leaves neither key nor process",
    async () => {
      const folder = tempDir();
      const server = await startSshServer({ held: true });
      for (const agent of ["agent-1", "agent-2"]) await farm.cli(["agents", "resume", agent]); // a test before has drained one
      const origin = `ssh://${server.login}:${server.port}${folder}`;
      const repository = createRepository({ folder, origin }, "shop.git");
      const commit = repository.push({ "millrace.yaml": pipeline, "src/a.txt": "one\n" });
      writeFileSync(join(folder, "key"), server.privateKey);
      writeFileSync(join(folder, "hosts"), server.knownHosts);
      const settings = ["--repo", repository.url, "--credentials-secret", "deploy-key"];
      expect(await farm.cli(["project", "add", "by-ssh", ...settings])).toMatchObject({ status: 0 });
      const key = ["secret", "set", "deploy-key", "--project", "by-ssh", "--file", join(folder, "key")];
      expect(await farm.cli(key)).toMatchObject({ status: 0 });
      const unknown = await farm.cli(["run", "--git", "--project", "by-ssh"]);
      expect(unknown).toMatchObject({ status: 2, stderr: expect.stringContaining("--known-hosts FILE") });
      const named = await farm.cli(["project", "set", "by-ssh", "--known-hosts", join(folder, "hosts")]);
      expect(named.stdout).toContain(server.knownHosts.trim());

      const cli = farm.startCli(["run", "--git", "--project", "by-ssh"]);
      const [agent = ""] = /agent-./.exec(await cli.line(/agent-. fetches/)) ?? [];
      await server.asked();
      const connections = () => processesAbout(`-p ${server.port}`).map(({ pid }) => pid);
      const before = connections();
      expect(before.length).toBe(1);
      await farm.cli(["agents", "drain", agent]);
      process.kill(pidOf(farm, agent), "SIGKILL");
      await cli.line(new RegExp(`${agent === "agent-1" ? "agent-2" : "agent-1"} fetches`));
      await vi.waitFor(() => expect(connections()).not.toEqual(expect.arrayContaining(before)), patience);
      await server.release();
      expect(await cli.result).toMatchObject({ status: 0, stdout: expect.stringContaining(`at ${commit} on main`) });
      const line = server.privateKey.split("\n")[2] ?? "";
      const leaks = execFileSync("sh", ["-c", `grep -rlF -e "$1" "$2" || true`, "sh", line, farm.dataDir]);
      expect(String(leaks)).toBe("");
    },
  );
});
