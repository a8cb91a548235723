import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { RunState } from "./run-state.ts";
import type { TaskState } from "./task-state.ts";

/** By `stage/task`, or by `task` where that is unique. @throws MillraceError not_found or invalid_argument */
export function taskNamed({ run, tasks }: Pick<RunState, "run" | "tasks">, asked: string): TaskState {
  const exact = tasks.get(asked);
  if (exact !== undefined) return exact;
  const found = [...tasks.values()].filter(({ planned }) => planned.name === asked);
  const [task] = found;
  if (task !== undefined && found.length === 1) return task;
  if (task === undefined)
    throw new MillraceError("not_found", `${run} has no task "${asked}": see \`millrace show ${run}\``);
  const names = found.map(({ name }) => name).join(", ");
  throw new MillraceError("invalid_argument", `"${asked}" may be any of ${names}: say which`);
}

/** As `taskNamed`; the name of a task with variants, as the pipeline file has it, means all of them. */
export function tasksNamed(state: Pick<RunState, "run" | "tasks">, asked: string): readonly TaskState[] {
  const isMeant = (name: string) => name === asked || name.endsWith(`/${asked}`);
  const tasks = [...state.tasks.values()];
  if (tasks.some(({ name }) => isMeant(name))) return [taskNamed(state, asked)];
  const variants = tasks.filter(({ planned }) => isMeant(planned.madeFrom));
  const families = [...new Set(variants.map(({ planned }) => planned.madeFrom))];
  if (families.length <= 1) return variants.length === 0 ? [taskNamed(state, asked)] : variants;
  throw new MillraceError("invalid_argument", `"${asked}" may be any of ${families.join(", ")}: say which`);
}

/** @throws MillraceError invalid_argument when it is too long */
export function requireText(text: string, what: string): void {
  if (text.length <= limits.commentChars) return;
  throw new MillraceError("invalid_argument", `${what} has at most ${limits.commentChars} characters`);
}
