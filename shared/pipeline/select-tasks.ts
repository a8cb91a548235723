import { suggest } from "./did-you-mean.ts";
import { closure } from "./order.ts";
import type { Pipeline, Problem, Task } from "./pipeline.ts";

/** What somebody asked for; empty lists ask for everything. */
export interface Selection {
  readonly stages: readonly string[];
  /** `stage/task`, or `task` where that is unique; a task with variants means all of them. */
  readonly tasks: readonly string[];
}

/** The tasks of a pipeline by `stage/task`, in file order, with what each waits for. */
export interface TaskGraph {
  readonly tasks: ReadonlyMap<string, Task>;
  /** Tasks that must succeed first: of needed stages, of `needs`, makers of used artifacts. In file order, each once. */
  needsOf(task: string): readonly string[];
}

export function taskGraph(pipeline: Pipeline): TaskGraph {
  const tasks = new Map(pipeline.stages.flatMap((stage) => stage.tasks.map((task) => [taskId(task), task] as const)));
  const place = new Map([...tasks.keys()].map((id, index) => [id, index]));
  const inFileOrder = (ids: Iterable<string>) => [...ids].sort((a, b) => (place.get(a) ?? 0) - (place.get(b) ?? 0));
  const stages = new Map(pipeline.stages.map((stage) => [stage.name, stage]));
  // All tasks of a stage share these; a set of their own for each would be quadratic twice over.
  const before = new Map(
    pipeline.stages.map((stage) => [
      stage.name,
      inFileOrder(stage.needs.flatMap((need) => stages.get(need)?.tasks.map(taskId) ?? [])),
    ]),
  );
  const needs = new Map<string, readonly string[]>();
  for (const [id, task] of tasks) {
    const stageNeeds = before.get(task.stage) ?? [];
    const own = [...task.needs, ...task.use.map((use) => use.task)];
    needs.set(id, own.length === 0 ? stageNeeds : inFileOrder(new Set([...stageNeeds, ...own])));
  }
  return { tasks, needsOf: (id) => needs.get(id) ?? [] };
}

export function taskId(task: Pick<Task, "stage" | "name">): string {
  return `${task.stage}/${task.name}`;
}

/** The selected tasks and all that they need, or what is wrong with the selection. */
export function selectTasks(
  pipeline: Pipeline,
  graph: TaskGraph,
  selection: Selection,
): { readonly selected: ReadonlySet<string>; readonly problems: readonly Problem[] } {
  if (selection.stages.length === 0 && selection.tasks.length === 0) {
    return { selected: new Set(graph.tasks.keys()), problems: [] };
  }
  const problems: Problem[] = [];
  const report = (message: string, hint: string) =>
    problems.push({ file: pipeline.file, line: 1, column: 1, message, hint });
  const wanted: string[] = [];
  for (const name of selection.stages) {
    const stage = pipeline.stages.find((one) => one.name === name);
    const names = pipeline.stages.map((one) => one.name);
    if (stage === undefined) report(`there is no stage "${name}" to run`, suggest(name, names, "stages"));
    else wanted.push(...stage.tasks.map(taskId));
  }
  const ids = [...graph.tasks.keys()];
  for (const name of selection.tasks) {
    const isMeant = (id: string) => id === name || id.endsWith(`/${name}`);
    const found = ids.filter(isMeant);
    const [only, ...others] = found;
    if (only === undefined) {
      const families = [...new Set([...graph.tasks.values()].flatMap(({ madeFrom }) => madeFrom ?? []))];
      const [family, ...more] = families.filter(isMeant);
      if (family !== undefined && more.length === 0) {
        wanted.push(...ids.filter((id) => graph.tasks.get(id)?.madeFrom === family));
        continue;
      }
      const known = [...ids, ...families];
      const candidates = name.includes("/") ? known : known.map((id) => id.slice(id.indexOf("/") + 1));
      report(`there is no task "${name}" to run`, suggest(name, candidates, "tasks"));
    } else if (others.length > 0) {
      report(`there are ${found.length} tasks "${name}"`, `name one of them: ${found.slice(0, 12).join(", ")}`);
    } else {
      wanted.push(only);
    }
  }
  return { selected: closure(wanted, graph.needsOf), problems };
}
