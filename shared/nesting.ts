import { MillraceError } from "./errors.ts";
import { limits } from "./limits.ts";

/** Given to each task: how many farms it is inside of. Not part of its key. */
const variable = "MILLRACE_NESTING";

/**
 * How many farms this process is inside of, by what their agents told their tasks; 0 outside of any. A test in a task
 * may start a farm of its own. A pipeline that runs itself would start farms without end.
 * @throws MillraceError failed_precondition when a farm started here would be deeper than `limits.farmNesting`
 */
export function nestingOf(env: Readonly<Record<string, string | undefined>>): number {
  const told = env[variable] ?? "";
  const nesting = /^\d{1,3}$/.test(told) ? Number(told) : 0;
  if (nesting <= limits.farmNesting) return nesting;
  throw new MillraceError(
    "failed_precondition",
    `this would be a farm inside of ${nesting} others (${variable}=${told}): does a task of a pipeline run that pipeline? If it is meant, unset ${variable} there`,
  );
}

/** What the environment of a task says to a farm that the task starts. @param nesting of the agent */
export function nestedIn(nesting: number): Record<string, string> {
  return { [variable]: String(nesting + 1) };
}
