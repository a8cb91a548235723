import type { PlannedTask } from "../../proto/gen/millrace/v1/event_pb.ts";
import { suggest } from "./did-you-mean.ts";
import {
  entriesOf,
  type Located,
  type LocatedEntry,
  locatedText,
  memberOf,
  type Place,
  withEntries,
} from "./located.ts";

export interface GeneratedSource {
  /** Of the task that wrote them. */
  readonly stage: string;
  /** What it wrote. */
  readonly written: Located;
  /** Tasks that others wrote before: they are there by name and outputs, so that names lead to them. */
  readonly before: readonly PlannedTask[];
  readonly report: (at: Place, message: string, hint: string) => void;
}

/**
 * A pipeline file with the tasks that one of its tasks wrote, in their stage, as if they stood there: what holds for a file
 * holds for them, and whatever is wrong with them leads to where they were written.
 */
export function withGenerated(top: Located, { stage, written, before, report }: GeneratedSource): Located {
  for (const [key, { key: at }] of entriesOf(written)) {
    if (key !== "tasks") report(at, `unknown key "${key}"`, suggest(key, ["tasks"], "keys of such a file"));
  }
  const tasks = memberOf(written, "tasks");
  if (tasks?.kind !== "map" || tasks.entries.size === 0) {
    report(tasks?.at ?? written.at, "there are no tasks in what was written", "write tasks: with at least one");
    return top;
  }
  const present = entriesOf(memberOf(memberOf(memberOf(top, "stages"), stage), "tasks"));
  for (const [name, { key }] of tasks.entries) {
    if (present.has(name)) report(key, `stage "${stage}" has a task "${name}" already`, "give it another name");
  }
  const outlined = before.reduce((tree, task) => {
    const at = tree.at;
    return withTasks(tree, task.stage, new Map([[task.name, { key: at, value: outline(task, at) }]]));
  }, top);
  return withTasks(outlined, stage, tasks.entries);
}

function withTasks(top: Located, stage: string, added: ReadonlyMap<string, LocatedEntry>): Located {
  const stages = entriesOf(top).get("stages");
  const inStage = entriesOf(stages?.value).get(stage);
  const tasks = entriesOf(inStage?.value).get("tasks");
  if (top.kind !== "map" || stages?.value.kind !== "map" || inStage?.value.kind !== "map") return top;
  const value: Located = {
    kind: "map",
    at: tasks?.value.at ?? inStage.key,
    entries: new Map([...entriesOf(tasks?.value), ...added]),
  };
  const withThem = withEntries(inStage.value, { tasks: { key: tasks?.key ?? inStage.key, value } });
  const inStages = withEntries(stages.value, { [stage]: { ...inStage, value: withThem } });
  return withEntries(top, { stages: { ...stages, value: inStages } });
}

function outline({ outputs }: PlannedTask, at: Place): Located {
  const made = outputs.map(({ artifact, path }) => [artifact, { key: at, value: locatedText(path, at) }] as const);
  const entries = new Map<string, LocatedEntry>([
    ["run", { key: at, value: locatedText("true", at) }],
    ["outputs", { key: at, value: { kind: "map", at, entries: new Map(made) } }],
  ]);
  return { kind: "map", at, entries };
}
