import { limits } from "../../limits.ts";
import { shellWord } from "../../shell-word.ts";
import { ownNodeTool, ownNodeVariable } from "../own-node-tool.ts";

// What an agent runs to evaluate a pipeline file in TypeScript. It is one of the inputs of that Action, so it is part of
// the key, and any agent with a Node can do it, of whatever version of Millrace that is.

/** Where in the input root the files of the source are. */
export const sourceFolder = "source";

/** What the evaluator leaves: the pipeline as JSON. Not what it prints, for pipelines may print. */
export const pipelineOutput = "pipeline.json";

/** How the evaluator ends when it has said, in lines `file: path: message`, what is wrong with what it was given. */
export const refusedExit = 3;

/** What `import … from "millrace"` gives at run time: each gives back what it is given, and lets the compiler look at it. */
const builder = `/** A word for the shell that means just this text. */
function quoted(value) {
  const text = String(value);
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\\\''") + "'";
}
export const definePipeline = (pipeline) => pipeline;
export const defineStage = (stage) => stage;
export const defineTask = (task) => task;
export const sh = (texts, ...values) =>
  String.raw({ raw: texts.raw }, ...values.map((value) => (Array.isArray(value) ? value.map(quoted).join(" ") : quoted(value))));
`;

const evaluator = `import { readFileSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { inspect } from "node:util";

const [file] = process.argv.slice(2);
const root = new URL("./${sourceFolder}/", import.meta.url);
const folder = fileURLToPath(root);
const output = fileURLToPath(new URL("./${pipelineOutput}", import.meta.url));
const exit = process.exit.bind(process);
const write = (text) => writeFileSync(2, text);
const { stringify } = JSON;

/** With paths as the source has them, and without what lies in Node or in here. */
function readable(text) {
  const lines = text.replaceAll(root.href, "").replaceAll(folder, "").split("\\n");
  return placed(lines.filter((line) => !/^ +at .*(node:internal|evaluate\\.mjs|ModuleJob\\.run)/.test(line)).join("\\n"));
}

/**
 * What is no program, as file:line:column: message. Node shows file:line, lines up to that one (their tabs, but for those of
 * imports, as four spaces), a caret below it, and the message. No caret means its end, or its beginning where ">" marks it.
 */
function placed(text) {
  const frame = /^(\\S+):(\\d+)\\n([^]*?)\\n(?:(\\s*)\\^+\\n)?\\n*SyntaxError(?: \\[\\w+\\])?(: [^]*)$/.exec(text);
  if (frame === null) return text;
  const [, url, number, shown, caret, message] = frame;
  let path = "";
  let source = "";
  try {
    path = relative(folder, fileURLToPath(new URL(url, root)));
    source = readFileSync(folder + path, "utf8");
  } catch {
    return text; // what only looks so names any file
  }
  const line = source.split("\\n")[number - 1] ?? "";
  const [indent] = /^\\s*/.exec(line);
  const end = caret === undefined && /^ *> /m.test(shown) ? indent.length : line.length;
  const tabWidth = shown.includes("\\t") ? 1 : 4;
  let width = 0;
  let column = 0;
  for (const letter of line) {
    if (column >= end || (caret !== undefined && width >= caret.length)) break;
    width += letter === "\\t" ? tabWidth : 1;
    column += letter.length;
  }
  return path + ":" + number + ":" + (column + 1) + ": SyntaxError" + message;
}

function refuse(...problems) {
  // What was printed before may have no end of its last line.
  write("\\n" + problems.map((problem) => file + ": " + problem + "\\n").join(""));
  exit(${refusedExit});
}

/** An error, and those that caused it. */
function stackOf(error, depth = 0) {
  if (!(error instanceof Error) || typeof error.stack !== "string") return (depth === 0 ? "it threw " : "") + inspect(error);
  const more = error.cause !== undefined && depth < 5;
  return readable(error.stack) + (more ? "\\n  because of: " + stackOf(error.cause, depth + 1) : "");
}

function thrown(error) {
  write(stackOf(error) + "\\n");
  exit(1);
}

/** A copy that JSON can hold, or everything that it cannot. */
function plain(pipeline) {
  const problems = [];
  const around = new Set();
  let values = 0;
  const wrong = (path, what) => {
    if (problems.length < ${limits.pipelineProblems}) problems.push((path || "the pipeline") + ": " + what);
  };

  function copy(value, path) {
    if (++values > ${limits.pipelineValues}) refuse("the pipeline: has more than ${limits.pipelineValues} values");
    if (typeof value === "string" || typeof value === "boolean") return value;
    if (typeof value === "number") {
      if (!Number.isFinite(value)) wrong(path, "is " + value + ", which is no number that a file can hold");
      return value;
    }
    if (value === null) return wrong(path, "is null; leave it out instead");
    if (typeof value !== "object") return wrong(path, "is " + kindOf(value) + "; write text, a number, true or false, a list or a mapping");
    if (around.has(value)) return wrong(path, "contains itself");
    if (around.size > ${limits.pipelineDepth}) return wrong(path, "is nested more than ${limits.pipelineDepth} levels deep");
    around.add(value);
    const made = Array.isArray(value) ? items(value, path) : members(value, path);
    around.delete(value);
    return made;
  }

  function items(list, path) {
    return Array.from(list, (item, index) =>
      item === undefined ? wrong(path + "[" + index + "]", "is undefined") : copy(item, path + "[" + index + "]"));
  }

  function members(object, path) {
    const parent = Object.getPrototypeOf(object);
    if (parent !== null && parent !== Object.prototype) {
      if (object instanceof Promise) return wrong(path, "is a promise; await it");
      const name = object.constructor?.name ?? "Object";
      return wrong(path, (name === "Object" ? "has a prototype of its own" : "is of the class " + name) + "; write a plain object");
    }
    for (const key of Object.getOwnPropertySymbols(object)) wrong(path, "has the key " + String(key) + ", which is no text");
    const made = Object.create(null);
    for (const [key, value] of Object.entries(object)) {
      if (value !== undefined) made[key] = copy(value, path === "" ? key : path + "." + key);
    }
    return made;
  }

  const made = copy(pipeline, "");
  if (problems.length > 0) refuse(...problems);
  return made;
}

function kindOf(value) {
  return value === undefined ? "undefined" : typeof value === "function" ? "a function" : "a " + typeof value;
}

process.on("uncaughtException", thrown);
process.on("exit", (code) => {
  if (code === 0 && !isWritten) write("it ended without giving its pipeline: a promise was never settled, or it called process.exit\\n");
});
let isWritten = false;

async function main() {
  process.chdir(folder);
  const loaded = await import(pathToFileURL(folder + file).href);
  if (!("default" in loaded)) refuse("the default export: there is none; write export default definePipeline({ … })");
  const given = typeof loaded.default === "function" ? await loaded.default() : await loaded.default;
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    refuse("the default export: must be a pipeline, or a function that gives one, and is " + (given === null ? "null" : Array.isArray(given) ? "a list" : kindOf(given)));
  }
  const text = stringify(plain(given), undefined, 1) + "\\n";
  const bytes = Buffer.byteLength(text);
  if (bytes > ${limits.pipelineFileBytes}) refuse("the pipeline: has " + bytes + " bytes as JSON; at most ${limits.pipelineFileBytes} are read");
  writeFileSync(output, text);
  isWritten = true;
  exit(0);
}

main().catch(thrown);
`;

/** What lies in the input root beside the folder of the source, by path. */
export const evaluatorFiles: Readonly<Record<string, string>> = {
  "evaluate.mjs": evaluator,
  "package.json": '{ "type": "module" }\n',
  "node_modules/millrace/package.json": '{ "name": "millrace", "type": "module", "exports": "./index.js" }\n',
  "node_modules/millrace/index.js": builder,
};

/**
 * The script that evaluates the file at a path of the source, by the Node of this name among the agents' tools. Node's own
 * permissions keep it to its declared inputs also where agents have no sandbox: it reads the input root, writes its result, and
 * starts nothing. They hold what is written in good faith; the wall for the rest is the sandbox.
 */
export function evaluationScript(path: string, tool: string): string {
  const flags = [
    "--permission",
    "--allow-fs-read=.",
    `--allow-fs-write=./${pipelineOutput}`,
    "--no-experimental-sqlite", // which asks for no permission, and opens whatever file is named to it
    `--max-old-space-size=${limits.evaluationMemoryMib}`,
    "--disable-warning=MODULE_TYPELESS_PACKAGE_JSON",
    "--disable-warning=ExperimentalWarning",
  ];
  const node = tool === ownNodeTool ? `"$${ownNodeVariable}"` : tool;
  const file = shellWord(path);
  // In blocks of 512 bytes, and of what it prints, too: the kernel writes that into a file.
  const blocks = limits.evaluationFileBytes / 512;
  return `ulimit -f ${blocks}; ulimit -c 0; exec ${node} ${flags.join(" ")} evaluate.mjs ${file}`;
}
