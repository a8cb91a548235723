import type { Problem } from "./pipeline.ts";

/**
 * `millrace.yaml:12:7: message`, the form that editors and terminals turn into a link, and the hint on its own line. Of what an
 * evaluation gave, `millrace.ts: stages.build: message`.
 */
export function formatProblem(problem: Problem): string {
  const { message, hint } = problem;
  const first = `${placeOf(problem)}: ${message}`;
  return hint === undefined ? first : `${first}\n  hint: ${hint}`;
}

/** Where a problem is, as one text: equal for equal places. */
export function placeOf({ file, line, column, path }: Pick<Problem, "file" | "line" | "column" | "path">): string {
  return path === undefined ? `${file}:${line}:${column}` : `${file}: ${path === "" ? "the pipeline" : path}`;
}
