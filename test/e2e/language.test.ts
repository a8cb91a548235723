import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { project, startFarm, type TestFarm } from "../support/farm.ts";

let farm: TestFarm;
beforeAll(async () => {
  farm = await startFarm({ agents: 2 });
});
afterAll(() => farm.remove());

const server =
  'require("http").createServer((q, a) => a.end("from the service")).listen(process.env.MILLRACE_PORT_WEB)';
const files = {
  ".millrace/nightly.yaml": `name: nightly
include: [ci/common.yaml]
stages:
  verify:
    tasks:
      unit:
        template: say
        with: { what: "\${{ matrix.kind }} in \${{ params.level }}" }
        matrix: { kind: [a, b] }
        outputs: { "said-\${{ variant }}": said.txt }
      part: { run: 'echo "$MILLRACE_SHARD_INDEX of $MILLRACE_SHARD_COUNT"', shards: 2, inputs: [] }
      all: { run: cat said-*, inputs: [], use: ["said-*"] }
      web:
        run: |
          "${process.execPath}" -e 'fetch("http://127.0.0.1:" + process.env.MILLRACE_PORT_WEB).then((a) => a.text()).then(console.log)'
        inputs: []
        services:
          web:
            run: exec "${process.execPath}" -e '${server}'
            ready: { tcp: auto }
      broken: { run: echo ran, inputs: [], services: { db: { run: echo no room; exit 7, ready: { tcp: auto } } } }
`,
  "ci/common.yaml": `params: { level: { options: [quick, full], default: quick } }
templates: { say: { params: { what: {} }, run: "echo \${{ with.what }} | tee said.txt", inputs: [] } }
`,
};

describe("a pipeline of .millrace/ with an include, parameters, a template, a matrix, shards and services", () => {
  it("runs as what it is written out to", async () => {
    const dir = project({
      ...files,
      ".millrace/nightly.yaml": files[".millrace/nightly.yaml"].replace(/^ +broken.*\n/m, ""),
    });
    const result = await farm.run(dir, "--pipeline", "nightly", "--param", "level=full");
    expect(result.tasks.map(({ name, status }) => `${name} ${status}`)).toEqual(
      ["unit-a", "unit-b", "part-1-of-2", "part-2-of-2", "all", "web"].map((name) => `${name} succeeded`),
    );
    expect((await farm.cli(["show", result.run])).stdout).toContain("\nwith level=full\n");
    const log = async (task: string) => (await farm.cli(["logs", result.run, task])).stdout;
    expect(await log("all")).toBe("a in full\nb in full\n");
    expect(await log("part-2-of-2")).toBe("2 of 2\n");
    expect(await log("web")).toBe("from the service\n");
    const again = await farm.run(dir, "--pipeline", "nightly");
    expect(again.tasks.map(({ cached }) => cached)).toEqual([false, false, true, true, false, true]);
  });

  it("fails with what its service said when that does not come to serve", async () => {
    const result = await farm.run(project(files), "--pipeline", "nightly", "--task", "broken");
    expect(result.tasks).toMatchObject([{ name: "broken", status: "failed", exit: 125 }]);
    const { stdout } = await farm.cli(["logs", result.run, "broken"]);
    expect(stdout).toBe(
      "[db] no room\n[db] ended by itself with status 7\nservices: db ended with status 7 before it was ready\n",
    );
  });

  it("is refused for parameters that it does not have, by the client and by the coordinator", async () => {
    const dir = project(files);
    const refused = await farm.cli(["run", dir, "--pipeline", "nightly", "--param", "lvel=full"]);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain('ci/common.yaml:1:1: there is no parameter "lvel"\n  hint: did you mean "level"?');
    const checked = await farm.cli(["validate", join(dir, ".millrace/nightly.yaml"), "--param", "level=fast"]);
    expect(checked.status).toBe(2);
    expect(checked.stderr).toContain('ci/common.yaml:1:1: parameter "level" must be one of quick, full, not "fast"');
    const valid = await farm.cli(["validate", join(dir, ".millrace/nightly.yaml")]);
    expect(valid.stdout).toContain("nightly.yaml is valid: 1 stage, 7 tasks");
  });
});

describe("conditions and what runs at the end", () => {
  const ends = {
    "millrace.yaml": `name: ends
params: { fail: { type: boolean, default: false } }
defaults: { retry: 0 }
stages:
  s:
    tasks:
      a: { run: "test \${{ params.fail }} = false", inputs: [] }
      only: { run: "true", inputs: [], when: params.fail }
      after: { run: "true", inputs: [], needs: [a, only] }
    finally: { tasks: { clean: { run: "true", inputs: [], cache: false } } }
  next: { needs: [s], tasks: { t: { run: "true", inputs: [] } } }
finally:
  tasks:
    tell: { run: "true", inputs: [], cache: false, when: run.failed && params.fail }
    good: { run: "true", inputs: [], cache: false, when: "!run.failed" }
`,
  };
  const outcomes = (result: { tasks: readonly { name: string; status: string }[] }) =>
    result.tasks.map(({ name, status }) => `${name} ${status}`);

  it("skip what is not asked for, and go on", async () => {
    const result = await farm.run(project(ends));
    expect(outcomes(result)).toEqual([
      ...["a succeeded", "only skipped", "after succeeded", "clean succeeded", "t succeeded"],
      ...["tell skipped", "good succeeded"],
    ]);
    expect(result.exitStatus).toBe(0);
    const shown = await farm.cli(["show", result.run]);
    expect(shown.stdout).toContain("params.fail is false");
  });

  it("run also after a failure, and know of it", async () => {
    const result = await farm.run(project(ends), "--param", "fail=true");
    expect(outcomes(result)).toEqual([
      ...["a failed", "only succeeded", "after skipped", "clean succeeded", "t skipped"],
      ...["tell succeeded", "good skipped"],
    ]);
    expect(result.exitStatus).toBe(1);
  });
});
