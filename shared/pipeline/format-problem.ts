import type { Problem } from "./pipeline.ts";

/** `millrace.yaml:12:7: message`, the form that editors and terminals turn into a link, and the hint on its own line. */
export function formatProblem(problem: Problem): string {
  const { file, line, column, message, hint } = problem;
  const first = `${file}:${line}:${column}: ${message}`;
  return hint === undefined ? first : `${first}\n  hint: ${hint}`;
}
