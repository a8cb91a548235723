import type { Pipeline, Task } from "../../shared/pipeline/pipeline.ts";
import { taskId } from "../../shared/pipeline/select-tasks.ts";

/** A task as it stands in the file, with all the tasks that were made from it: what a drawing shows as one. */
export interface Family {
  /** `stage/task` of the file. */
  readonly id: string;
  readonly name: string;
  /** In the order of the plan, at least one. */
  readonly tasks: readonly [Task, ...Task[]];
  /** Other families that it needs by name, without those that it uses. */
  readonly needs: readonly string[];
  /** Artifacts that it reads, by the family that makes them. */
  readonly uses: ReadonlyMap<string, readonly string[]>;
}

/** Families by stage, in file order. */
export function familiesOf(pipeline: Pipeline): ReadonlyMap<string, readonly Family[]> {
  const origin = new Map<string, string>();
  for (const stage of pipeline.stages) for (const task of stage.tasks) origin.set(taskId(task), idOf(task));
  const of = (id: string) => origin.get(id) ?? id;
  const stages = new Map<string, readonly Family[]>();
  for (const stage of pipeline.stages) {
    const members = new Map<string, [Task, ...Task[]]>();
    for (const task of stage.tasks) {
      const present = members.get(idOf(task));
      if (present === undefined) members.set(idOf(task), [task]);
      else present.push(task);
    }
    const families = [...members].map(([id, tasks]): Family => {
      const uses = new Map<string, Set<string>>();
      for (const use of tasks.flatMap((task) => task.use)) {
        const maker = of(use.task);
        uses.set(maker, (uses.get(maker) ?? new Set()).add(use.artifact));
      }
      const needs = new Set(
        tasks.flatMap((task) => task.needs.map(of)).filter((need) => need !== id && !uses.has(need)),
      );
      const listed = new Map([...uses].map(([maker, artifacts]) => [maker, [...artifacts]]));
      return { id, name: id.slice(stage.name.length + 1), tasks, needs: [...needs], uses: listed };
    });
    stages.set(stage.name, families);
  }
  return stages;
}

function idOf(task: Task): string {
  return task.madeFrom ?? taskId(task);
}

/** What tells the members of a family apart: `node: 22, 24`; shards as their number. Undefined for a single task. */
export function describeVariants({ tasks }: Family): string | undefined {
  const values = new Map<string, Set<string>>();
  for (const { variant } of tasks) {
    for (const [name, value] of Object.entries(variant)) values.set(name, (values.get(name) ?? new Set()).add(value));
  }
  if (values.size === 0) return undefined;
  if (values.size === 1 && values.has("shard")) return `×${tasks.length} shards`;
  const parts = [...values].map(([name, known]) =>
    name === "shard" ? `${known.size} shards` : `${name}: ${listed([...known], 8)}`,
  );
  return `×${tasks.length} ${parts.join("; ")}`;
}

/** The first ones, and how many more there are. */
export function listed(names: readonly string[], most: number): string {
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}
