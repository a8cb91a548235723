import { spawnSync } from "node:child_process";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Ajv } from "ajv";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { pipelineJsonSchema } from "../../../../shared/pipeline/json-schema/pipeline-json-schema.ts";
import { pipelineReference } from "../../../../shared/pipeline/json-schema/reference.ts";
import { pipelineTypes } from "../../../../shared/pipeline/json-schema/typescript.ts";
import { writtenScalar } from "../../../../shared/pipeline/json-schema/written-scalars.ts";
import { parsePipeline } from "../../../../shared/pipeline/parse.ts";
import { readLabel, readName, readTool, readToolVersion, readVariable } from "../../../../shared/pipeline/reading.ts";
import { readGroup } from "../../../../shared/pipeline/reading-policies.ts";
import { starterPipeline } from "../../../../shared/pipeline/starter.ts";
import { repositoryRoot } from "../../../support/source-files.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const validate = new Ajv({ allowUnionTypes: true }).compile(pipelineJsonSchema());

/** What an editor would say. */
function findings(text: string): string[] {
  if (validate(parse(text))) return [];
  return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
}

/** Pipelines of this repository: files, and examples in the documents that are whole files. */
function knownPipelines(): [string, string][] {
  const files = globSync(["millrace.yaml", "examples/**/millrace.yaml", "test/**/*.pipeline.yaml"], {
    cwd: repositoryRoot,
  });
  const documents = globSync(["docs/guides/*.md"], { cwd: repositoryRoot });
  return [
    ...files.map((file): [string, string] => [file, readFileSync(join(repositoryRoot, file), "utf8")]),
    ...documents.flatMap((file) => {
      const text = readFileSync(join(repositoryRoot, file), "utf8");
      const blocks = [...text.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, block = ""]) => block);
      return blocks
        .filter((block) => /^name: /m.test(block) && /^stages:/m.test(block))
        .map((block, index): [string, string] => [`${file} ${index + 1}`, block]);
    }),
  ];
}

/** A pipeline of one task, with more lines in it. */
const stage = (lines: string) => `name: a\nstages:\n  b:\n    tasks:\n      c:\n        run: "true"\n${lines}`;

describe("the JSON Schema of pipeline files", () => {
  const known = knownPipelines();

  it("is tried on more than a few", () => {
    expect(known.length).toBeGreaterThan(4);
  });

  it.each(known)("takes %s", (_name, text) => {
    expect(findings(text)).toEqual([]);
  });

  it.each([
    ["package.json", '{"scripts":{"build":"b","test":"t"},"devDependencies":{"a":"1"}}'],
    ["pyproject.toml", "[project]"],
    ["CMakeLists.txt", ""],
    ["go.mod", "require a v1"],
    ["other", ""],
  ])("takes what init writes for %s", (file, text) => {
    expect(findings(starterPipeline([file], () => text).text)).toEqual([]);
  });

  it.each([
    [
      "numbers, booleans and words where scalars are",
      stage("        env: { A: 010, B: yes, C: 1.10, D: ~, E: true }\n        agents: { gpu: 1, fast: true }"),
    ],
    [
      "a mapping or the one thing in it",
      stage("        retry: 2\n        concurrency: deploy\n        secrets: { TOKEN: token }"),
    ],
    [
      "the mapping",
      stage(
        "        retry: { times: 2, on: [exit 75, SIGSEGV, timeout], delay: 1m30s }\n        secrets: { TOKEN: { secret: token, file: true } }",
      ),
    ],
    [
      "a used artifact by name or with its path",
      "name: a\nstages:\n  b: { tasks: { c: { run: x, outputs: { d: e } }, f: { run: x, use: [d] }, g: { run: x, use: [{ artifact: d, path: h }] } } }",
    ],
    [
      "expressions wherever a text or number stands",
      'name: a\nparams: { time: 5m, n: { type: number, default: 2 } }\nstages:\n  b:\n    tasks:\n      c: { run: x, timeout: "${{ params.time }}", retry: "${{ params.n }}", outputs: { "d-${{ params.n }}": e } }',
    ],
    [
      "a matrix, conditions, services and a last task",
      stage(
        "        matrix: { node: [22, 24], include: [{ node: 26 }] }\n        when: branch == 'main'\n        changes: [src/**]\n        services: { db: { run: serve, ready: { tcp: 5432 } } }\n        shards: 2\nfinally: { tasks: { d: { run: x, when: run.failed } } }",
      ),
    ],
    [
      "what starts runs, in all its forms",
      `${stage("")}\non: { push: , pull_request: { branches: [main] }, schedule: "0 3 * * *", upstream: [lib] }`,
    ],
    [
      "a template and its parameters",
      `${stage("        env: { A: b }")}\n      d: { template: t, with: { level: 3 } }\ntemplates: { t: { run: "x ${"${{ with.level }}"}", params: { level: 1 }, timeout: 5m } }`,
    ],
  ])("takes %s", (_what, text) => {
    expect(parsePipeline(text, "millrace.yaml").problems).toEqual([]);
    expect(findings(text)).toEqual([]);
  });

  it.each([
    ["no stages", "name: a", "stages"],
    ["a key that is misspelt", stage("        timout: 5m"), "additional"],
    ["a name that is none", "name: No Name\nstages: { b: { tasks: { c: { run: x } } } }", "/name"],
    ["a time without a unit", stage("        timeout: 5"), "/timeout"],
    ["a word for a boolean", stage("        cache: maybe"), "/cache"],
    ["a text for a list", stage("        inputs: src/**"), "/inputs"],
    ["a number out of bounds", stage("        priority: 5000"), "/priority"],
    ["more tries than there may be", stage("        retry: 99"), "/retry"],
    ["a path that leaves the folder", stage("        outputs: { app: ../app }"), "/outputs"],
    ["a policy that does not exist", stage("        concurrency: { group: g, policy: newest }"), "/concurrency"],
    ["an ending that does not exist", stage("        retry: { on: [sometimes] }"), "/retry"],
    ["a variable that no shell reads", stage("        env: { A-B: x }"), "/env"],
    ["a task without a script", "name: a\nstages: { b: { tasks: { c: { env: { A: b } } } } }", "run"],
  ])("refuses %s, as the parser does", (_what, text, where) => {
    expect(parsePipeline(text, "millrace.yaml").problems).not.toEqual([]);
    expect(findings(text).join("\n")).toContain(where);
  });
});

describe("what is written where a reader reads", () => {
  it.each([readName, readVariable, readLabel, readTool, readToolVersion, readGroup])(
    "has the pattern of %o",
    (read) => {
      const pattern = new RegExp(String(writtenScalar(read)["pattern"]));
      const words = fc.oneof(fc.string({ maxLength: 4 }), fc.stringMatching(/^[a-z0-9A-Z._/@+-]{0,70}$/));
      fc.assert(fc.property(words, (word) => pattern.test(word) === "value" in read(word)));
    },
  );

  it("finds out what a reader that it does not know takes", () => {
    const words = (text: string) => (text === "on" ? { value: text } : { wrong: "is not on" });
    const ports = (text: string) => (/^[1-9]\d*$/.test(text) ? { value: Number(text) } : { wrong: "is no port" });
    const switches = (text: string) => (/^(true|false)$/.test(text) ? { value: text } : { wrong: "is neither" });
    expect([words, ports, switches].map(writtenScalar)).toEqual([
      { type: ["string"] },
      { type: "number" },
      { type: "boolean" },
    ]);
  });
});

describe("the reference", () => {
  it("says of every key what it means", () => {
    const rows = pipelineReference(pipelineJsonSchema())
      .split("\n")
      .filter((line) => /^\| (\*\*)?`/.test(line));
    expect(rows.length).toBeGreaterThan(60);
    expect(rows.filter((line) => line.endsWith("|  |"))).toEqual([]);
  });

  it("has a section for each mapping and a row for each of its keys", () => {
    const page = pipelineReference(pipelineJsonSchema());
    for (const section of ["The pipeline", "A stage", "A task", "A manual stage", "A retry policy"]) {
      expect(page).toContain(`\n## ${section}\n`);
    }
    expect(page).toContain("| **`run`** | text |");
    expect(page).toMatch(/\| `priority` \| whole number from -1000 to 1000 \|/);
    expect(page).toMatch(/\| `retry` \| whole number from 0 to 10, or mapping \|/);
    expect(page).toMatch(/\| `policy` \| `queue`, `cancel-superseded` \|/);
  });
});

describe("the types of pipelines", () => {
  it("take what the parser takes, and refuse at its place what it refuses", () => {
    const dir = tempDir();
    writeFileSync(join(dir, "millrace.d.ts"), pipelineTypes(pipelineJsonSchema()));
    const program = (pipeline: string) =>
      `/// <reference path="millrace.d.ts" />\nimport { definePipeline, sh } from "millrace";\nexport default definePipeline(\n${pipeline});\n`;
    const task = (keys: string) => `{ name: "p", stages: { s: { tasks: { t: { ${keys} } } } } }`;
    const right = [
      task(
        'run: sh`echo ${1} ${["a", "b"]}`, retry: { times: 2, on: ["exit 75"] }, timeout: "5m", shards: "${{ 1 + 1 }}"',
      ),
      task('template: "base", with: { what: 1 }, matrix: { node: [22, 24], exclude: [{ node: 22 }] }, use: ["app"]'),
      task('run: "x", cache: undefined, services: { db: { run: "x", ready: { tcp: "auto" } } }'),
      '{ include: ["ci/common.yaml"], params: { level: { type: "choice", options: ["a"] } } }',
      '{ name: "p", stages: { m: { manual: { title: "sure?" } } }, finally: { tasks: { t: { run: "x" } } } }',
    ];
    const wrong = [
      [task('run: "x", timeot: "5m"'), "timeot"],
      [task('run: "x", cache: "maybe"'), "maybe"],
      [task('run: "x", inputs: "src/**"'), "Type 'string' is not assignable to type 'readonly "],
      [task('run: "x", concurrency: { group: "g", policy: "newest" }'), "newest"],
      [task("env: { A: 1 }"), "is not assignable to type 'Task'"],
      ['{ name: "p", stages: { m: { manual: {} } } }', "title"],
      ["{ stages: {} }", "'{ stages: {}; }' is not assignable"],
    ] as const;
    const files = [...right, ...wrong.map(([text]) => text)].map((text, index) => {
      writeFileSync(join(dir, `p${index}.ts`), program(text));
      return `p${index}.ts`;
    });
    const tsc = resolve(import.meta.dirname, "../../../../node_modules/.bin/tsc");
    const flags = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--pretty", "false"];
    const { stdout } = spawnSync(tsc, [...flags, ...files], { cwd: dir, encoding: "utf8" });
    const found = stdout.split("\n").filter((line) => /^p\d+\.ts/.test(line));
    for (const index of right.keys()) expect(found.filter((line) => line.startsWith(`p${index}.ts`))).toEqual([]);
    for (const [index, [, word]] of wrong.entries()) {
      const line = found.find((one) => one.startsWith(`p${right.length + index}.ts(4,`));
      expect(line).toContain(word);
    }
  });
});
