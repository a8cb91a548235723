import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { MillraceError } from "../../../../../shared/errors.ts";
import { formatProblem } from "../../../../../shared/pipeline/format-problem.ts";
import { importPipeline } from "../../../../../shared/pipeline/import/import-pipeline.ts";
import { pipelineJsonSchema } from "../../../../../shared/pipeline/json-schema/pipeline-json-schema.ts";
import { parsePipeline } from "../../../../../shared/pipeline/parse.ts";

const fixtures = join(import.meta.dirname, "fixtures");
const imported = (name: string) => importPipeline(readFileSync(join(fixtures, name), "utf8"), name, "shop");
const problemsOf = (text: string) => parsePipeline(text, "millrace.yaml").problems.map(formatProblem);

/** Of a workflow with one job. */
function job(lines: string, more = "") {
  const { text, gaps } = importPipeline(
    `on: push\n${more}\njobs:\n  a:\n${lines.replaceAll(/^/gm, "    ")}\n`,
    ".github/workflows/a.yml",
    "x",
  );
  return { task: parse(text).stages.jobs.tasks.a, gaps: gaps.map(({ message }) => message), whole: parse(text) };
}

/** Of a .gitlab-ci.yml. */
function gitlab(text: string) {
  const made = importPipeline(text, ".gitlab-ci.yml", "x");
  return { whole: parse(made.text), gaps: made.gaps.map(({ message }) => message) };
}

const steps = "steps: [{ run: make }]";

describe("an imported pipeline", () => {
  it.each(["github-plain.yml", "gitlab-plain.yml"])("from %s is right, and nothing is missing", (name) => {
    const { text, gaps } = imported(name);
    expect(gaps).toEqual([]);
    expect(problemsOf(text)).toEqual([]);
  });

  it.each(["github-shop.yml", "gitlab-shop.yml"])("from %s is as it was looked at", async (name) => {
    await expect(imported(name).text).toMatchFileSnapshot(join(fixtures, `${name.replace(".yml", "")}.expected.txt`));
  });

  it.each(["github-shop.yml", "gitlab-shop.yml"])("from %s is right", (name) => {
    const { text } = imported(name);
    expect(problemsOf(text)).toEqual([]);
    const validate = new Ajv({ allowUnionTypes: true }).compile(pipelineJsonSchema());
    expect([validate(parse(text)), validate.errors]).toEqual([true, null]);
  });

  it("names each gap with file and line, in the file and apart, in the order of the file", () => {
    const { text, gaps } = imported("github-shop.yml");
    expect(gaps.length).toBeGreaterThan(5);
    expect(gaps.map(({ line }) => line)).toEqual(gaps.map(({ line }) => line).toSorted((a, b) => a - b));
    for (const { line, message } of gaps) expect(text).toContain(`#   github-shop.yml:${line}: ${message}\n`);
  });

  it.each([
    ["no YAML", "a: [", ":1: "],
    ["a list", "- a", "not a mapping"],
    ["another file", "name: a\nstages: {}", "neither"],
    ["an alias of nothing", "on: push\njobs: { a: *b }", "no anchor &b"],
    ["no jobs", "on: push\njobs: {}", "no jobs"],
    ["an alias bomb", bomb(), "too large"],
  ])("is refused for %s", (_what, text, message) => {
    expect(() => importPipeline(text, ".github/workflows/a.yml", "x")).toThrow(message);
  });

  it("comes of any text, or that is refused with a reason", () => {
    const words = [
      "on",
      "jobs",
      "script",
      "steps",
      "run",
      "uses",
      "needs",
      "if",
      "extends",
      "rules",
      "a",
      "b",
      "env",
      "matrix",
      "strategy",
      "${{ a",
      "}}",
      "[",
      "]",
      "{",
      "}",
      ":",
      "- ",
      "\n",
      "  ",
      "'",
      "&a",
      "*a",
      "<<",
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words), { maxLength: 40 }), (parts) => {
        try {
          importPipeline(parts.join(" "), "x.yml", "x");
        } catch (error) {
          expect(error).toBeInstanceOf(MillraceError);
        }
      }),
    );
  });
});

describe("a workflow of GitHub Actions", () => {
  it.each([
    ["github.ref == 'refs/heads/main'", "branch == 'main'"],
    ["github.ref_name == 'main' && github.event_name != 'schedule'", "branch == 'main' && trigger != 'schedule'"],
    ["startsWith(github.ref, 'refs/tags/v')", "tag.startsWith('v')"],
    ["${{ success() && !contains(github.ref_name, 'wip') }}", "true && !branch.contains('wip')"],
    ["inputs.dry-run == 'it''s' || (runner.os == 'Linux')", "params.dry_run == 'it\\'s' || ('Linux' == 'Linux')"],
  ])("has the condition %s as %s", (text, cel) => {
    expect(job(`if: "${text}"\n${steps}`)).toMatchObject({ task: { when: cel }, gaps: [] });
  });

  it.each([
    "always()",
    "failure()",
    "github.actor == 'me'",
    "fromJSON('true')",
    "needs.a.outputs.b == 'c'",
    "a ==",
    "'",
  ])("never runs a job by the condition %s, and says so", (text) => {
    const { task, gaps } = job(`if: ${JSON.stringify(text)}\n${steps}`);
    expect(task.when).toBe("false");
    expect(gaps.join()).toContain("never runs until you write `when`");
  });

  it("gives secrets to the job that speaks of them, under their names, and to no file", () => {
    const { task, whole } = job(
      `env: { TOKEN: "\${{ secrets.DEPLOY_TOKEN }}" }\nsteps: [{ run: "curl -H \${{ secrets.API_KEY }} x" }]`,
      `env: { ALL: "\${{ secrets.ALL }}" }`,
    );
    expect(task.secrets).toEqual({ ALL: "all", TOKEN: "deploy_token", API_KEY: "api_key" });
    expect(task.run).toBe("curl -H $API_KEY x");
    expect(JSON.stringify(whole)).not.toContain("secrets.");
  });

  it("fails a task of whose job nothing could be translated, instead of doing nothing", () => {
    expect(job("uses: ./.github/workflows/b.yml").task.run).toContain("exit 1");
    expect(job("steps: [{ uses: some/action@v1 }]").task.run).toContain("exit 1");
  });

  it("runs scripts that more than /bin/sh is needed for by bash", () => {
    expect(job("steps: [{ run: 'set -o pipefail; a | b' }]").task.run).toMatch(
      /^cat > .steps.sh <<'END_OF_STEPS'\n[\s\S]*\nbash -e .steps.sh\n$/,
    );
    expect(job("steps: [{ run: 'a | b' }]").task.run).toBe("a | b");
  });

  it("keeps what one step sets from the next", () => {
    const { task } = job(
      "steps:\n  - { run: make, env: { A: 'b c' }, working-directory: sub }\n  - { run: make check, continue-on-error: true }",
    );
    expect(task.run).toBe('(\nexport A="b c"\ncd sub\nmake\n)\n(\nmake check\n) || true\n');
  });

  it("has artifacts and caches where they are one folder, and says where they are not", () => {
    const { task, gaps } = job(`steps:
  - run: make
  - { uses: actions/upload-artifact@v4, with: { name: App, path: ./dist/ } }
  - { uses: actions/upload-artifact@v4, with: { name: logs, path: "*.log" } }
  - { uses: actions/cache@v4, with: { path: .objects, key: a } }
  - { uses: actions/cache@v4, with: { path: ~/.ccache, key: a } }
  - { uses: actions/download-artifact@v4 }`);
    expect(task).toMatchObject({ outputs: { app: "dist" }, caches: { objects: ".objects" } });
    expect(gaps).toHaveLength(3);
  });

  it("tells the artifacts of a matrix apart, and names a group also where no branch is known", () => {
    const matrix = "strategy: { matrix: { os: [a, b] } }\nsteps:\n  - run: make\n";
    const upload = (name: string) => `  - { uses: actions/upload-artifact@v4, with: { name: "${name}", path: dist } }`;
    const { task, gaps, whole } = job(matrix + upload("out"), "concurrency: ${{ github.ref }}");
    expect(task.outputs).toEqual({ "out-${{ variant }}": "dist" });
    expect(gaps.join()).toContain('the artifact "out" of each variant');
    expect(whole.concurrency).toBe("x-${{ branch }}");
    expect(job(matrix + upload("out-${{ matrix.os }}")).task.outputs).toEqual({ "out-${{ matrix.os }}": "dist" });
  });
});

describe("a .gitlab-ci.yml", () => {
  it("has its stages in their order, each after the one before it that has jobs", () => {
    const { whole } = gitlab("stages: [z, y, x]\na: { stage: x, script: x }\nb: { stage: z, script: z }\n");
    expect(whole.stages).toMatchObject({ z: { tasks: { b: {} } }, x: { needs: ["z"] } });
    expect(Object.keys(whole.stages as object)).toEqual(["z", "x"]);
  });

  it.each([
    ['$CI_COMMIT_BRANCH == "main"', "branch == 'main'"],
    ["$CI_COMMIT_TAG", "tag != ''"],
    ["$CI_COMMIT_TAG == null", "tag == ''"],
    [
      '$CI_PIPELINE_SOURCE == "merge_request_event" || $CI_COMMIT_BRANCH =~ /^v\\d+$/i',
      "trigger == 'pull_request' || branch.matches('(?i)^v\\\\d+$')",
    ],
    ['($LEVEL == "quick")', "('quick' == 'quick')"],
  ])("has the rule %s as %s", (text, cel) => {
    const { whole, gaps } = gitlab(
      `variables: { LEVEL: quick }\na:\n  stage: test\n  script: x\n  rules: [{ if: ${JSON.stringify(text)} }]\n`,
    );
    expect(whole.stages.test.tasks.a.when).toBe(cel);
    expect(gaps).toEqual([]);
  });

  it.each([
    ["rules: [{ if: $CI_COMMIT_TAG, when: never }, { when: on_success }]", "!(tag != '')", 0],
    ["rules: [{ when: manual }]", "false", 1],
    ["rules: [{ if: $UNKNOWN }, { when: on_success }]", "false", 1],
    ["rules: [{ changes: [a/**] }, { if: $CI_COMMIT_TAG }]", "changed(['a/**']) || tag != ''", 0],
    ["when: manual", "false", 1],
    ["when: on_failure", "false", 1],
    ["only: [main, tags]", "branch == 'main' || tag != ''", 0],
    ["{ only: [branches], except: [main] }", "branch != '' && !(branch == 'main')", 0],
    ["when: on_success", undefined, 0],
  ])("decides by %s as %s", (lines, when, gapCount) => {
    const rest = lines.startsWith("{") ? lines.slice(1, -1).split(/,(?= except)/) : [lines];
    const { whole, gaps } = gitlab(
      `a:\n  stage: test\n  script: x\n${rest.map((line) => `  ${line.trim()}\n`).join("")}`,
    );
    expect(whole.stages.test.tasks.a.when).toBe(when);
    expect(gaps).toHaveLength(gapCount);
  });

  it("brings the artifacts of all stages before, or of those that a job names", () => {
    const { whole } = gitlab(`a: { stage: build, script: x, artifacts: { paths: [dist/] } }
b: { stage: test, script: x }
c: { stage: test, script: x, dependencies: [] }
d: { stage: test, script: x, needs: [{ job: b, artifacts: false }] }
`);
    expect(whole.stages.test.tasks.b.use).toEqual([{ artifact: "a", path: "dist" }]);
    expect(whole.stages.test.tasks.c.use).toBeUndefined();
    expect(whole.stages.test.tasks.d).toMatchObject({ needs: ["b"] });
  });

  it("inherits by extends, default, anchors and references, and only once", () => {
    const { whole, gaps } = gitlab(`default: { before_script: [one], retry: 2 }
.a: { variables: { A: a, B: a }, script: [two] }
.b: { extends: .a, variables: { B: b } }
c: { extends: .b, variables: { C: c } }
d: { script: [!reference [.a, script], three], before_script: [], retry: 0 }
`);
    expect(whole.stages.test.tasks.c).toEqual({ run: "one\ntwo\n", env: { A: "a", B: "b", C: "c" }, retry: 2 });
    expect(whole.stages.test.tasks.d).toEqual({ run: "two\nthree\n" });
    expect(gaps).toEqual([]);
    expect(gitlab("a: { extends: a, script: x }").gaps.join()).toContain("in a circle");
  });

  it("tries again after what it names, and counts failures of the farm apart", () => {
    const { whole } = gitlab(
      "a: { script: x, retry: { max: 2, when: runner_system_failure } }\nb: { script: x, retry: { max: 1, exit_codes: [75] } }",
    );
    expect(whole.stages.test.tasks).toMatchObject({
      a: { retry: { times: 0, infrastructure: 2 } },
      b: { retry: { times: 1, on: ["exit 75"] } },
    });
  });
});

/** Each list names the one before it ten times. */
function bomb(): string {
  const levels = Array.from(
    { length: 9 },
    (_, level) =>
      `a${level}: &a${level} [${
        level === 0
          ? "x"
          : Array(10)
              .fill(`*a${level - 1}`)
              .join(", ")
      }]`,
  );
  return `${levels.join("\n")}\non: push\njobs: { a: *a8 }\n`;
}
