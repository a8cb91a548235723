import type { PlannedTask, TasksGenerated } from "../../../proto/gen/millrace/v1/event_pb.ts";

/** A task as far as tasks that others wrote concern it. */
export interface Generable {
  /** `stage/task`. */
  readonly name: string;
  planned: PlannedTask;
  /** The task that wrote it, as `stage/task`; empty for one of the pipeline file. */
  readonly generatedBy: string;
}

/** What became of the tasks of a run when one of them had written others. */
export interface Grafted<Task> {
  /** They were written earlier by the same task, and this time they were not. */
  readonly removed: readonly Task[];
  readonly added: readonly Task[];
}

/**
 * Puts the tasks that a task wrote among those of its run, each before all that need it: what a task wrote is what it wrote
 * last. Those that need the stage as a whole need them, too; they are known by needing the writer from outside of its stage,
 * or as a task that always runs after all others of it.
 * @param tasks by name, in the order of the plan; is changed, and so are the needs of those that need more now
 * @param make gets what was there under the name, when the same task had written that before
 */
export function graftGenerated<Task extends Generable>(
  tasks: Map<string, Task>,
  { by, tasks: written }: Pick<TasksGenerated, "by" | "tasks">,
  make: (planned: PlannedTask, former: Task | undefined) => Task,
): Grafted<Task> {
  const former = takeFormer(tasks, by);
  const added = written.map((planned) => make(planned, former.get(taskName(planned))));
  const names = new Set(added.map(({ name }) => name));
  const removed = [...former.values()].filter(({ name }) => !names.has(name));
  const gone = new Set(removed.map(({ name }) => name));
  const writer = tasks.get(by);
  for (const task of tasks.values()) {
    const { needs } = task.planned;
    const kept = gone.size === 0 ? needs : needs.filter((need) => !gone.has(need));
    const isWhole = needs.includes(by) && (task.planned.stage !== writer?.planned.stage || task.planned.always);
    const known = new Set(isWhole ? kept : []);
    const more = isWhole ? [...names].filter((name) => !known.has(name)) : [];
    if (kept.length !== needs.length || more.length > 0) task.planned = { ...task.planned, needs: [...kept, ...more] };
  }
  insert(tasks, by, added);
  return { removed, added };
}

/** What the writer wrote before, and what that wrote, and so on; they are not among the tasks any more. */
function takeFormer<Task extends Generable>(tasks: Map<string, Task>, by: string): Map<string, Task> {
  const former = new Map<string, Task>();
  for (const task of tasks.values()) {
    if (task.generatedBy === by || former.has(task.generatedBy)) former.set(task.name, task);
  }
  for (const name of former.keys()) tasks.delete(name);
  return former;
}

/** After the last of what they need, in their own order. */
function insert<Task extends Generable>(tasks: Map<string, Task>, by: string, added: readonly Task[]): void {
  if (added.length === 0) return;
  const needs = new Set([by, ...added.flatMap(({ planned }) => planned.needs)]);
  const order = [...tasks.values()];
  const last = order.findLastIndex(({ name }) => needs.has(name));
  tasks.clear();
  for (const task of order.toSpliced(last + 1, 0, ...added)) tasks.set(task.name, task);
}

/** `stage/task`: how a task is named within its run. */
export function taskName({ stage, name }: Pick<PlannedTask, "stage" | "name">): string {
  return `${stage}/${name}`;
}
