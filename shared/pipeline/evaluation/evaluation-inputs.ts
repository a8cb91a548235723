import { posix } from "node:path";
import { limits } from "../../limits.ts";
import type { TreeEntry } from "../../merkle/tree-entry.ts";
import { type GlobPattern, globMatches, globPath, readGlob } from "../glob.ts";
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
const relativeImport = /(?:\bfrom|\bimport|\bURL)\s*(?:\(\s*)?(["'])(\.{1,2}\/[^"'\n]{1,1000})\1/g;
const inputsLine = /^\/\/ @inputs[ \t]+(\S.*)$/gm;
const scanned = /\.[cm]?[jt]s$/;

/**
 * What a pipeline file is evaluated with: itself, what it and those files import by relative paths, and what the globs in
 * their lines `// @inputs …` match. So a change of anything else does not evaluate it anew.
 */
export async function evaluationInputs({ file, entries, read }: EvaluationSource): Promise<EvaluationInputs> {
  const files = new Map(entries.filter(({ node }) => node.kind === "file").map((entry) => [entry.path, entry]));
  const chosen = new Set<string>([file]);
  const problems: Problem[] = [];
  let bytesLeft: number = limits.evaluationScannedBytes;
  for (const path of chosen) {
    if (!scanned.test(path)) continue;
    const text = await read(path);
    if (text === undefined) continue;
    bytesLeft -= text.length;
    const matching = matchesOf(path, text, files.keys());
    problems.push(...matching.problems);
    for (const found of [...importsOf(path, text), ...matching.paths]) if (files.has(found)) chosen.add(found);
    if (bytesLeft < 0 || chosen.size > limits.evaluationInputs) {
      const message = `it imports too much: at most ${limits.evaluationInputs} files, and ${limits.evaluationScannedBytes} bytes`;
      return { entries: [], problems: [{ file, line: 1, column: 1, message }] };
    }
  }
  return { entries: [...chosen].flatMap((path) => files.get(path) ?? []), problems };
}

function importsOf(path: string, text: string): string[] {
  const folder = posix.dirname(path);
  return [...text.matchAll(relativeImport)].map(([, , name = ""]) => posix.join(folder, name));
}

/** Of all globs of a file together: one with `!` takes away from what the others choose. */
function matchesOf(file: string, text: string, paths: Iterable<string>) {
  const problems: Problem[] = [];
  const globs: { readonly pattern: string; readonly excludes: boolean; readonly any: readonly GlobPattern[] }[] = [];
  const positions = new Map<string, Pick<Problem, "line" | "column">>();
  for (const match of text.matchAll(inputsLine)) {
    const line = text.slice(0, match.index).split("\n").length;
    for (const { 0: pattern, index } of match[0].matchAll(/\S+/g)) {
      if (pattern === "//" || pattern === "@inputs") continue;
      const position = { line, column: index + 1 };
      positions.set(pattern, position);
      const reading = readGlob(pattern);
      if ("value" in reading)
        globs.push({ pattern, excludes: reading.value.excludes, any: reading.value.alternatives });
      else problems.push({ file, ...position, message: `the glob ${reading.wrong}`, ...hintOf(reading) });
    }
  }
  if (globs.length === 0) return { problems, paths: [] };
  const budget = { steps: limits.globSteps };
  const unmatched = new Set(globs.filter(({ excludes }) => !excludes).map(({ pattern }) => pattern));
  const found: string[] = [];
  for (const path of paths) {
    const parts = globPath(path);
    const matching = globs.filter(({ any }) => any.some((one) => globMatches(one, parts, budget)));
    for (const { pattern } of matching) unmatched.delete(pattern);
    if (matching.length > 0 && matching.every(({ excludes }) => !excludes)) found.push(path);
  }
  for (const pattern of unmatched) {
    const position = positions.get(pattern) ?? { line: 1, column: 1 };
    const message =
      budget.steps < 0 ? `"${pattern}" is too much to match` : `"${pattern}" matches no file of the source`;
    problems.push({ file, ...position, message, hint: "globs are relative to the top of the source" });
  }
  return { problems, paths: found };
}

function hintOf({ hint }: { readonly hint?: string }): { readonly hint?: string } {
  return hint === undefined ? {} : { hint };
}
