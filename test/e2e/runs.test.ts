import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { project, startFarm, type TestFarm } from "../support/farm.ts";
import { processesAbout } from "../support/process-state.ts";
import { tempDir } from "../support/temp-dir.ts";

let farm: TestFarm;
beforeAll(async () => {
  farm = await startFarm({ agents: 2 });
});
afterAll(() => farm.remove());

/** Goes on until it is stopped. */
const hold = "while :; do sleep 0.1; done";

describe("a run", () => {
  it("that succeeds ends with 0, its log and a summary", async () => {
    const dir = project({
      "millrace.yaml": `name: greet
stages:
  build:
    tasks:
      hello:
        run: |
          echo "hello from $(cat name.txt)"
          mkdir -p dist && cp name.txt dist/
        outputs: { app: dist/ }
  verify:
    needs: [build]
    tasks:
      check: { run: grep -q mill app/name.txt, use: [app], inputs: [] }
`,
      "name.txt": "the mill\n",
    });
    const { status, stdout, stderr } = await farm.cli(["run", dir]);
    expect(stderr).toMatch(/submitted as run_\d+/);
    expect(stdout).toMatch(/^build\/hello +│ hello from the mill$/m);
    expect(stdout).toMatch(/^build\/hello +succeeded .* agent-[12]$/m);
    expect(stdout).toMatch(/^verify\/check +succeeded .* agent-[12]$/m);
    expect(stdout).toMatch(/^run_\d+ succeeded in /m);
    expect(stdout).not.toContain("\u001b");
    expect(status).toBe(0);
  });

  it("that fails ends with 1, says how, and leaves out what needed it", async () => {
    const dir = project({
      "millrace.yaml": `name: broken
stages:
  build:
    tasks:
      bad: { run: "echo about to fail >&2; exit 3" }
      after: { run: "true", needs: [bad] }
`,
    });
    const result = await farm.run(dir);
    expect(result.exitStatus).toBe(1);
    expect(result.status).toBe("failed");
    expect(result.tasks).toMatchObject([
      { stage: "build", name: "bad", status: "failed", exit: 3, cached: false, attempts: 1 },
      { stage: "build", name: "after", status: "skipped", exit: null, attempts: 0, agent: null },
    ]);
    const { stdout } = await farm.cli(["logs", result.run, "bad"]);
    expect(stdout).toBe("about to fail\n");
    const shown = await farm.cli(["show", result.run]);
    expect(shown.stdout).toMatch(/^build\/bad +failed .* exited with 3$/m);
    expect(shown.stdout).toMatch(/^build\/after +skipped /m);
  });

  it("whose task runs too long ends with 1, and the task's processes are gone", async () => {
    const mark = `${process.pid}${Date.now()}`;
    const dir = project({
      "millrace.yaml": `name: slow
stages:
  build:
    tasks:
      sleep: { run: "sleep 1${mark} & echo started; sleep 2${mark}", timeout: 1s }
`,
    });
    const result = await farm.run(dir);
    expect(result.exitStatus).toBe(1);
    expect(result.tasks).toMatchObject([{ status: "failed", exit: null }]);
    const shown = await farm.cli(["show", result.run]);
    expect(shown.stdout).toMatch(/timed out/);
    expect(processesAbout(mark)).toEqual([]);
  });

  it("whose task no agent could end well fails at its first attempt with 1 and says why", async () => {
    const folder = Array.from({ length: 8 }, (_, level) => String(level).repeat(250)).join("/");
    const outputs = Array.from({ length: 150 }, (_, index) => `          o${index}: ${folder}/${index}\n`).join("");
    const dir = project({
      "millrace.yaml": `name: bulky
stages:
  build:
    tasks:
      bulk:
        run: cd ${folder} && for i in $(seq 0 149); do echo $i > $i; done
        outputs:
${outputs}`,
    });
    const { status, stdout } = await farm.cli(["run", dir]);
    expect(stdout).toMatch(/^build\/bulk +│ failed: was refused: its result takes \d+ bytes and 262144/m);
    expect(stdout).not.toMatch(/attempt 2/);
    expect(status).toBe(1);
  });

  it("is cancelled by Ctrl-C, ends with 3, and its tasks are stopped", async () => {
    const dir = project({
      "millrace.yaml": `name: endless
stages:
  build:
    tasks:
      loop: { run: "echo going; ${hold}" }
      after: { run: "true", needs: [loop] }
`,
    });
    const cli = farm.startCli(["run", dir]);
    await cli.line(/│ going$/);
    cli.process.kill("SIGINT");
    const { status, stdout } = await cli.result;
    expect(status).toBe(3);
    expect(stdout).toMatch(/^build\/loop +cancelled /m);
    expect(stdout).toMatch(/^run_\d+ cancelled /m);
  });

  it("is left alone by a second Ctrl-C, and can be cancelled from elsewhere", async () => {
    const dir = project({
      "millrace.yaml": `name: stubborn
stages:
  build:
    tasks:
      loop: { run: "trap '' TERM; echo going; ${hold}" }
`,
    });
    const cli = farm.startCli(["run", dir]);
    const [, name = ""] = /(run_\d+)/.exec(await cli.line(/submitted as/)) ?? [];
    await cli.line(/│ going$/);
    cli.process.kill("SIGINT");
    await cli.line(/cancelling/);
    cli.process.kill("SIGINT");
    const { status, stderr } = await cli.result;
    expect(status).toBe(3);
    expect(stderr).toContain(`left ${name} alone`);
    const follower = await farm.cli(["logs", name, "-f"]); // Ends when the run does.
    expect(follower.status).toBe(0);
    const late = await farm.cli(["cancel", name, "--json"]);
    expect([late.status, JSON.parse(late.stdout)]).toEqual([0, { run: name, status: "cancelled" }]);
    expect((await farm.cli(["cancel", name])).stderr).toContain(`${name} had ended already: it is cancelled`);
    const shown = JSON.parse((await farm.cli(["show", name, "--json"])).stdout);
    expect(shown).toMatchObject({ run: name, status: "cancelled" });
  });

  it("goes on beside another one, each with its own log", async () => {
    const pipeline = (text: string) =>
      project({
        "millrace.yaml": `name: ${text}\nstages:\n  a:\n    tasks:\n      b: { run: "for i in 1 2 3 4 5; do echo ${text} $i; done", cache: false }\n`,
      });
    const [left, right] = await Promise.all(["left", "right"].map((text) => farm.run(pipeline(text))));
    expect([left?.status, right?.status]).toEqual(["succeeded", "succeeded"]);
    expect(left?.run).not.toBe(right?.run);
    const logs = await Promise.all([left, right].map((result) => farm.cli(["logs", result?.run ?? "", "a/b"])));
    expect(logs.map((log) => log.stdout)).toEqual(
      ["left", "right"].map((text) => [1, 2, 3, 4, 5].map((i) => `${text} ${i}\n`).join("")),
    );
  });

  it("can be detached and followed later, and is in the list", async () => {
    const dir = project({
      "millrace.yaml":
        'name: later\nstages:\n  a:\n    tasks:\n      b: { run: "echo one; sleep 1; echo two", cache: false }\n',
    });
    const detached = await farm.cli(["run", dir, "--detach", "--json"]);
    expect(detached.status).toBe(0);
    const { run } = JSON.parse(detached.stdout);
    const followed = await farm.cli(["logs", run, "-f"]);
    expect(followed.stdout).toBe("a/b │ one\na/b │ two\n");
    const { runs } = JSON.parse((await farm.cli(["runs", "--json"])).stdout);
    expect(runs[0]).toMatchObject({ run, status: "succeeded", pipeline: "later" });
    const lines = (await farm.cli(["logs", run, "--json"])).stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines).toMatchObject([
      { task: "a/b", attempt: 1, text: "one" },
      { task: "a/b", attempt: 1, text: "two" },
    ]);
  });

  it("leaves artifacts that can be fetched, files and folders, with their modes", async () => {
    const dir = project({
      "millrace.yaml": `name: make
stages:
  build:
    tasks:
      pack:
        run: |
          mkdir -p out/deep && echo text > out/deep/file && ln -s deep/file out/link
          printf '#!/bin/sh\\necho tool\\n' > tool && chmod +x tool
        outputs: { tree: out/, tool: tool }
`,
    });
    const { run, status } = await farm.run(dir);
    expect(status).toBe("succeeded");
    const target = join(tempDir(), "fetched");
    const fetched = await farm.cli(["artifacts", run, "--output", target]);
    expect(fetched.stderr).toBe("");
    expect(fetched.status).toBe(0);
    expect(readFileSync(join(target, "tree/deep/file"), "utf8")).toBe("text\n");
    expect(readFileSync(join(target, "tree/link"), "utf8")).toBe("text\n");
    expect(statSync(join(target, "tool/tool")).mode & 0o111).not.toBe(0);
    const unknown = await farm.cli(["artifacts", run, "nope"]);
    expect(unknown).toMatchObject({ status: 2, stdout: "" });
    expect(unknown.stderr).toMatch(/has no artifact "nope"; it has (tree, tool|tool, tree)/);
  });

  it("can be narrowed to a task and what it needs", async () => {
    const dir = project({
      "millrace.yaml": `name: wide
stages:
  build:
    tasks: { a: { run: echo a }, b: { run: echo b, needs: [a] }, c: { run: echo c } }
  verify: { needs: [build], tasks: { d: { run: echo d } } }
`,
    });
    const byTask = await farm.run(dir, "--task", "build/b");
    expect(byTask.tasks.map((task) => task.name)).toEqual(["a", "b"]);
    const byStage = await farm.run(dir, "--stage", "build");
    expect(byStage.tasks.map((task) => task.name)).toEqual(["a", "b", "c"]);
    const unknown = await farm.cli(["run", dir, "--task", "nope"]);
    expect(unknown.status).toBe(2);
    expect(unknown.stderr).toContain("nope");
  });

  it("with a wrong file does not start: 2, and every problem with its place", async () => {
    const dir = project({
      "millrace.yaml": `name: wrong
stages:
  build:
    tasks:
      a: { runn: echo }
      b: { run: echo, use: [nothing] }
  late: { needs: [missing], tasks: { c: { run: "true", timeout: 3 parsecs } } }
`,
    });
    const { status, stdout, stderr } = await farm.cli(["run", dir]);
    expect(status).toBe(2);
    expect(stdout).toBe("");
    for (const place of ["millrace.yaml:5:12:", "millrace.yaml:6:29:", "millrace.yaml:7:19:", "millrace.yaml:7:"]) {
      expect(stderr).toContain(place);
    }
    expect(stderr).toContain("parsecs");
  });
});

describe("the command line", () => {
  it("lists the agents with what they offer", async () => {
    const { agents } = JSON.parse((await farm.cli(["agents", "--json"])).stdout);
    expect(agents).toHaveLength(2);
    expect(agents).toContainEqual(expect.objectContaining({ state: "online", slotsUsed: 0 }));
    expect((await farm.cli(["agents"])).stdout).toMatch(/^agent-1 +online /m);
  });

  it("says what to do about a wrong token, an absent coordinator and an unknown run", async () => {
    const wrongToken = await farm.cli(["runs", "--address", farm.grpc, "--token", "wrong"]);
    expect(wrongToken.status).toBe(3);
    expect(wrongToken.stderr).toMatch(/--token/);
    const absent = await farm.cli(["runs", "--address", "127.0.0.1:1", "--token", "x"]);
    expect(absent.status).toBe(3);
    expect(absent.stderr).toMatch(/millrace up/);
    const unknown = await farm.cli(["show", "999999"]);
    expect(unknown.status).toBe(2);
    expect(unknown.stderr).toMatch(/run_999999/);
    for (const { stderr } of [wrongToken, absent, unknown]) expect(stderr).not.toMatch(/^\s+at /m);
  });
});
