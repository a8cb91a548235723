import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { limits } from "../../../shared/limits.ts";
import {
  evaluationScript,
  evaluatorFiles,
  pipelineOutput,
  refusedExit,
  sourceFolder,
} from "../../../shared/pipeline/evaluation/evaluator.ts";
import { plainValue } from "../../../shared/pipeline/located.ts";
import { starterTypeScript } from "../../../shared/pipeline/starter-typescript.ts";
import { readYaml } from "../../../shared/pipeline/yaml-source.ts";
import { tempDir } from "../../support/temp-dir.ts";

interface Evaluated {
  readonly code: number;
  readonly said: string;
  readonly pipeline: string | undefined;
}

/** Does what an agent does, without its sandbox: lays out the input root and runs the script in it. */
async function evaluate(program: string, more: Readonly<Record<string, string>> = {}): Promise<Evaluated> {
  const root = tempDir();
  const files = Object.entries({ "millrace.ts": program, ...more }).map(([path, text]) => [
    join(sourceFolder, path),
    text,
  ]);
  for (const [path = "", text = ""] of [...Object.entries(evaluatorFiles), ...files]) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  const script = evaluationScript("millrace.ts", `'${process.execPath}'`);
  const env = { PATH: process.env["PATH"] ?? "", SECRET_OF_THE_AGENT: "x" };
  return await new Promise((resolve) => {
    execFile("/bin/sh", ["-e", "-c", `exec 2>&1; ${script}`], { cwd: root, env }, (error, said) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      const output = join(root, pipelineOutput);
      resolve({ code, said, pipeline: existsSync(output) ? readFileSync(output, "utf8") : undefined });
    });
  });
}

const pipelineOf = async (program: string, more: Readonly<Record<string, string>> = {}): Promise<unknown> => {
  const { said, pipeline } = await evaluate(program, more);
  expect(pipeline, said).toBeDefined();
  return JSON.parse(pipeline ?? "");
};

test("a pipeline, a function that gives one, and one that gives it later are all the same", async () => {
  const pipeline = { name: "p", stages: { a: { tasks: { t: { run: "echo" } } } } };
  const text = `(${JSON.stringify(pipeline)})`;
  for (const given of [text, `() => ${text}`, `async () => ${text}`, `Promise.resolve(${text})`])
    expect(await pipelineOf(`export default ${given};`)).toEqual(pipeline);
});

test("it has types, imports what is there, reads its inputs, and may print what it likes", async () => {
  const program = `import { definePipeline, sh, type Task } from "millrace";
import { readFileSync } from "node:fs";
import { names } from "./lib/names.ts";
import data from "./data.json" with { type: "json" };
console.log('{"name":"printed"}');
const task = (name: string): Task => ({ run: sh\`echo \${name} \${["it's", "b c"]}\`, env: { N: data.n, none: undefined } });
const text: string = readFileSync("text.txt", "utf8");
export default definePipeline({ name: text, stages: Object.fromEntries(names.map((name) => [name, task(name)])) } as never);`;
  const more = {
    "lib/names.ts": 'export const names = ["a", "b"];',
    "data.json": '{"n":1}',
    "text.txt": "from a file",
  };
  expect(await pipelineOf(program, more)).toEqual({
    name: "from a file",
    stages: Object.fromEntries(
      ["a", "b"].map((name) => [name, { run: `echo ${name} 'it'\\''s' 'b c'`, env: { N: 1 } }]),
    ),
  });
});

test("a file that is no program is told by its own name, whatever that is in a URL", async () => {
  const { said } = await evaluate('import "./lib/a [b].ts";', { "lib/a [b].ts": "\nconst x: = 1;" });
  expect(said).toMatch(/^lib\/a \[b\]\.ts:2:10: SyntaxError: /);
});

test("what no file can hold is refused by its path, all of it at once", async () => {
  const { code, said } = await evaluate(`process.stdout.write("no end of line");
const around: any = {};
around.again = [around];
export default { f: () => 1, n: [NaN], u: [undefined], z: null, s: Symbol("s"), big: 1n, date: new Date(), later: Promise.resolve(), around };`);
  expect(code).toBe(refusedExit);
  expect(said.split("\n").filter((line) => line.startsWith("millrace.ts: "))).toEqual([
    expect.stringMatching(/^millrace\.ts: f: is a function; /),
    "millrace.ts: n[0]: is NaN, which is no number that a file can hold",
    "millrace.ts: u[0]: is undefined",
    "millrace.ts: z: is null; leave it out instead",
    expect.stringMatching(/^millrace\.ts: s: is a symbol; /),
    expect.stringMatching(/^millrace\.ts: big: is a bigint; /),
    "millrace.ts: date: is of the class Date; write a plain object",
    "millrace.ts: later: is a promise; await it",
    "millrace.ts: around.again[0]: contains itself",
  ]);
});

test.for([
  ["no default export", "export const a = 1;", "the default export: there is none"],
  [
    "something else",
    "export default () => [1];",
    "the default export: must be a pipeline, or a function that gives one, and is a list",
  ],
  ["nothing", "export default () => {};", "and is undefined"],
  ["a prototype", "export default { __proto__: { name: 1 } };", "the pipeline: has a prototype of its own"],
  ["too much text", 'export default { name: "x".repeat(2e6) };', `at most ${limits.pipelineFileBytes} are read`],
  [
    "too much by sharing",
    "let x = {}; for (let i = 0; i < 60; i++) x = { a: x, b: x }; export default x;",
    `has more than ${limits.pipelineValues} values`,
  ],
  ["too many", "export default { a: Array(500_000).fill(1) };", `has more than ${limits.pipelineValues} values`],
] as const)("a program that gives %s is told so", async ([, program, expected]) => {
  const { code, said } = await evaluate(program);
  expect(said).toContain(`millrace.ts: `);
  expect(said).toContain(expected);
  expect(code).toBe(refusedExit);
});

test.for([
  [
    "throws",
    'function f(): never { throw new Error("no", { cause: new Error("why") }); }\nf();',
    /^Error: no\n {4}at f \(millrace\.ts:1:\d+\)\n {4}at millrace\.ts:2:1\n {2}because of: Error: why/,
  ],
  [
    "throws later",
    'setTimeout(() => { throw new Error("late"); });\nexport default new Promise(() => setInterval(() => 0, 1000));',
    /Error: late\n {4}at .*millrace\.ts:1:\d+/,
  ],
  ["throws what is no error", "throw { a: 1 };", /^it threw \{ a: 1 \}/],
  ["is no TypeScript", "\n\tconst x: = 1;", /^millrace\.ts:2:11: SyntaxError: Unexpected token `=`/],
  ["ends too early", "export default {\n\ta: 1", /^millrace\.ts:2:6: SyntaxError: Expected ',', got '<eof>'/],
  ["has what TypeScript compiles", "\n  enum A {\n\ta,\n}", /^millrace\.ts:2:3: SyntaxError: TypeScript enum is not/],
  [
    "imports what a file has not",
    '\timport { sh } from "./millrace.ts";',
    /^millrace\.ts:1:11: SyntaxError: The requested/,
  ],
  [
    "throws what looks like it",
    "throw Object.assign(new Error(), { stack: 'no.ts:1\\nx\\nSyntaxError: x' });",
    /^no\.ts:1\nx\n/,
  ],
  ["lacks an import", 'import "./nothing.ts";', /Cannot find module 'nothing\.ts' imported from millrace\.ts/],
  ["starts a process", 'import { spawn } from "node:child_process"; spawn("true");', /Use --allow-child-process/],
  [
    "starts a thread",
    'import { Worker } from "node:worker_threads"; new Worker("", { eval: true });',
    /Use --allow-worker/,
  ],
  [
    "reads what is no input",
    'import { readFileSync } from "node:fs"; readFileSync("/etc/passwd");',
    /Use --allow-fs-read/,
  ],
  ["writes", 'import { writeFileSync } from "node:fs"; writeFileSync("x", "");', /Use --allow-fs-write/],
  [
    "opens a database, of which Node's permissions know nothing",
    'import { DatabaseSync } from "node:sqlite"; new DatabaseSync("x.db").exec("CREATE TABLE t (a)");',
    /No such built-in module: node:sqlite/,
  ],
] as const)("a program that %s fails with what happened, where it did", async ([, program, expected]) => {
  const { code, said } = await evaluate(program);
  expect(said).toMatch(expected);
  expect(said).not.toContain("evaluate.mjs");
  expect(code).toBe(1);
});

test.for(["process.exit(0);", "await new Promise(() => {});"])("%s gives no pipeline, and says so", async (program) => {
  const { said, pipeline } = await evaluate(`${program}\nexport default {};`);
  expect(pipeline).toBeUndefined();
  expect(said).toContain("it ended without giving its pipeline");
});

test("what it prints is bounded, and costs it nothing but that", async () => {
  const print = 'for (let i = 0; i < 100_000; i++) console.log("x".repeat(100));';
  const { code } = await evaluate(`${print}\nexport default { name: "p" };`);
  expect(code).toBe(0);
});

test("a starter as a program gives what it says in YAML", async () => {
  const yaml = `name: p # a comment
stages:
  a:
    tasks:
      t: { run: "echo 'x' \\"y\\"", inputs: ["src/**", a-file-with-a-long-name.json, another-file-with-a-long-name.json, third-file-with-a-long-name.json], tools: { node: "24", python: "3.10" } }
      u:
        run: |
          echo \`one\` \${two}
          echo three\\n
        cache: false
        shards: 2
`;
  const { top } = readYaml(yaml, "millrace.yaml");
  const texts = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(texts);
    if (typeof value !== "object" || value === null) return String(value).trimEnd();
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, texts(one)]));
  };
  expect(texts(await pipelineOf(starterTypeScript(yaml)))).toEqual(texts(top && plainValue(top)));
});
