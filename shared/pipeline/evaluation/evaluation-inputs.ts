import { posix } from "node:path";
import { limits } from "../../limits.ts";
import type { TreeEntry } from "../../merkle/tree-entry.ts";
import { type Glob, globMatches, globPath, readGlob } from "../glob.ts";
import type { Problem } from "../pipeline.ts";

/** Of which source, and how its files are read. */
export interface EvaluationSource {
  /** Path of the pipeline file. */
  readonly file: string;
  /** Files, symlinks and empty directories of the source. */
  readonly entries: readonly TreeEntry[];
  /** The text of a file; undefined when it is too large to be looked into. */
  readonly read: (path: string) => Promise<string | undefined>;
}

/** All that it may read, or what is wrong with what it says of that. */
export interface EvaluationInputs {
  /** Files, by their paths in the source. */
  readonly entries: readonly TreeEntry[];
  readonly problems: readonly Problem[];
}

/**
 * The relative module names of a file. What only looks like one, in a comment say, costs an input too many; what is made
 * up at run time is not found, and is what `// @inputs` is for.
 */
const relativeImport = /(?:\bfrom|\bimport|\brequire|\bURL)\s*(?:\(\s*)?(["'])(\.{1,2}\/[^"'\n]{1,1000})\1/g;
const inputsLine = /^\/\/ @inputs[ \t]/;
const scanned = /\.[cm]?[jt]s$/;

/**
 * What a pipeline file is evaluated with: itself, what it and those files import by relative paths, and what the globs in
 * its lines `// @inputs …` match. So a change of anything else does not evaluate it anew.
 */
export async function evaluationInputs({ file, entries, read }: EvaluationSource): Promise<EvaluationInputs> {
  const files = new Map(entries.filter(({ node }) => node.kind === "file").map((entry) => [entry.path, entry]));
  const { paths, problems } = matchesOf(file, (await read(file)) ?? "", [...files.keys()]);
  const chosen = new Set<string>([file, ...paths]);
  let bytesLeft: number = limits.evaluationScannedBytes;
  for (const path of chosen) {
    if (bytesLeft < 0 || chosen.size > limits.evaluationInputs) {
      const message = `it imports too much: at most ${limits.evaluationInputs} files, and ${limits.evaluationScannedBytes} bytes`;
      return { entries: [], problems: [{ file, line: 1, column: 1, message }] };
    }
    if (!scanned.test(path)) continue;
    const text = (await read(path)) ?? "";
    bytesLeft -= text.length;
    for (const found of importsOf(path, text)) if (files.has(found)) chosen.add(found);
  }
  return { entries: [...chosen].flatMap((path) => files.get(path) ?? []), problems };
}

function importsOf(path: string, text: string): string[] {
  const folder = posix.dirname(path);
  return [...text.matchAll(relativeImport)].map(([, , name = ""]) => posix.join(folder, name));
}

interface InputGlob extends Glob {
  readonly pattern: string;
  readonly at: Pick<Problem, "file" | "line" | "column">;
}

/** Of all globs of a file together: one with `!` takes away from what the others choose. */
function matchesOf(file: string, text: string, paths: readonly string[]) {
  const { globs, problems } = globsIn(file, text);
  const budget = { steps: limits.globSteps };
  const unmatched = new Set(globs.filter(({ excludes }) => !excludes));
  const found: string[] = [];
  for (const path of globs.length === 0 ? [] : paths) {
    const parts = globPath(path);
    const matching = globs.filter(({ alternatives }) => alternatives.some((one) => globMatches(one, parts, budget)));
    for (const glob of matching) unmatched.delete(glob);
    if (matching.length > 0 && matching.every(({ excludes }) => !excludes)) found.push(path);
    if (budget.steps < 0) {
      const message = "its `// @inputs` are too much to match";
      return { paths: [], problems: [{ file, line: 1, column: 1, message, hint: "begin globs with a folder" }] };
    }
  }
  for (const { pattern, at } of unmatched) {
    const hint = "globs are relative to the top of the source";
    problems.push({ ...at, message: `"${pattern}" matches no file of the source`, hint });
  }
  return { paths: found, problems };
}

function globsIn(file: string, text: string) {
  const globs: InputGlob[] = [];
  const problems: Problem[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (!inputsLine.test(line)) continue;
    for (const { 0: pattern, index: offset } of line.matchAll(/\S+/g)) {
      if (pattern === "//" || pattern === "@inputs") continue;
      const at = { file, line: index + 1, column: offset + 1 };
      if (globs.length + problems.length >= limits.evaluationGlobs) {
        problems.push({ ...at, message: `there are more than ${limits.evaluationGlobs} globs` });
        return { globs: [], problems };
      }
      const reading = readGlob(pattern);
      if ("value" in reading) globs.push({ ...reading.value, pattern, at });
      else problems.push({ ...at, message: `the glob ${reading.wrong}`, ...hintOf(reading) });
    }
  }
  return { globs, problems };
}

function hintOf({ hint }: { readonly hint?: string }): { readonly hint?: string } {
  return hint === undefined ? {} : { hint };
}
