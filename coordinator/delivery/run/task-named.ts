import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { RunState } from "./run-state.ts";
import type { TaskState } from "./task-state.ts";

/** By `stage/task`, or by `task` where that is unique. @throws MillraceError not_found, or invalid_argument with the names */
export function taskNamed({ run, tasks }: Pick<RunState, "run" | "tasks">, asked: string): TaskState {
  const exact = tasks.get(asked);
  if (exact !== undefined) return exact;
  const named = [...tasks.values()].filter(({ planned }) => planned.name === asked);
  const [task] = named;
  if (task !== undefined && named.length === 1) return task;
  const found = task === undefined ? variantsNamed(tasks, asked) : named;
  if (found.length === 0)
    throw new MillraceError("not_found", `${run} has no task "${asked}": see \`millrace show ${run}\``);
  const names = found.map(({ name }) => name).join(", ");
  throw new MillraceError("invalid_argument", `"${asked}" may be any of ${names}: say which`);
}

/** As `taskNamed`; the name of a task with variants, as the pipeline file has it, means all of them. */
export function tasksNamed(state: Pick<RunState, "run" | "tasks">, asked: string): readonly TaskState[] {
  if ([...state.tasks.keys()].some((name) => isMeant(name, asked))) return [taskNamed(state, asked)];
  const variants = variantsNamed(state.tasks, asked);
  const families = [...new Set(variants.map(({ planned }) => planned.madeFrom))];
  if (families.length <= 1) return variants.length === 0 ? [taskNamed(state, asked)] : variants;
  throw new MillraceError("invalid_argument", `"${asked}" may be any of ${families.join(", ")}: say which`);
}

/** Those that were made of the tasks of the pipeline file that may be meant. */
function variantsNamed(tasks: RunState["tasks"], asked: string): TaskState[] {
  return [...tasks.values()].filter(({ planned }) => isMeant(planned.madeFrom, asked));
}

function isMeant(name: string, asked: string): boolean {
  return name === asked || name.endsWith(`/${asked}`);
}

/** @throws MillraceError invalid_argument when it is too long */
export function requireText(text: string, what: string): void {
  if (text.length <= limits.commentChars) return;
  throw new MillraceError("invalid_argument", `${what} has at most ${limits.commentChars} characters`);
}
