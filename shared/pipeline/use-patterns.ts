import type { ExpansionBudget } from "./expansion-budget.ts";
import { entriesOf, type Located, type LocatedEntry, locatedText, memberOf, withEntries } from "./located.ts";

/**
 * Writes out what tasks use by a pattern: `report-*` is every artifact of other tasks whose name begins and ends so. One
 * that matches nothing stays, and is then the name of no artifact.
 */
export function expandUses(
  stages: ReadonlyMap<string, LocatedEntry>,
  budget: ExpansionBudget,
): ReadonlyMap<string, LocatedEntry> {
  let made: readonly string[] | undefined;
  const artifacts = () => {
    made ??= [...stages.values()].flatMap(({ value }) =>
      [...entriesOf(memberOf(value, "tasks")).values()].flatMap((task) => outputsOf(task.value)),
    );
    return made;
  };

  function expandTask(task: Located): Located {
    const use = memberOf(task, "use");
    if (task.kind !== "map" || use?.kind !== "list" || !use.items.some(isPattern)) return task;
    const own = new Set(outputsOf(task));
    const key = task.entries.get("use")?.key ?? task.at;
    const items = use.items.flatMap((item): readonly Located[] => {
      if (!isPattern(item) || budget.isSpent()) return [item];
      const matches = matcher(artifactOf(item));
      const found = artifacts().filter((name) => !own.has(name) && matches(name));
      if (found.length === 0 || !budget.needs(found.length, item.at)) return [item];
      return found.map((name) => named(item, name));
    });
    return withEntries(task, { use: { key, value: { ...use, items } } });
  }

  const result = new Map<string, LocatedEntry>();
  for (const [name, stage] of stages) {
    const tasks = memberOf(stage.value, "tasks");
    if (stage.value.kind !== "map" || tasks?.kind !== "map") {
      result.set(name, stage);
      continue;
    }
    const entries = new Map<string, LocatedEntry>();
    for (const [task, entry] of tasks.entries) entries.set(task, { ...entry, value: expandTask(entry.value) });
    const key = stage.value.entries.get("tasks")?.key ?? stage.key;
    result.set(name, { ...stage, value: withEntries(stage.value, { tasks: { key, value: { ...tasks, entries } } }) });
  }
  return result;
}

function outputsOf(task: Located): string[] {
  return [...entriesOf(memberOf(task, "outputs")).keys()];
}

function artifactOf(item: Located): string {
  const name = item.kind === "text" ? item : memberOf(item, "artifact");
  return name?.kind === "text" ? name.text : "";
}

function isPattern(item: Located): boolean {
  return artifactOf(item).includes("*");
}

function matcher(pattern: string): (name: string) => boolean {
  const [before = "", ...rest] = pattern.split("*");
  const after = rest.join("*");
  return (name) => name.length >= before.length + after.length && name.startsWith(before) && name.endsWith(after);
}

/** Several things cannot land at one path: below it, each has its name. */
function named(item: Located, name: string): Located {
  if (item.kind !== "map") return locatedText(name, item.at);
  const path = item.entries.get("path");
  const artifact = { key: item.at, value: locatedText(name, item.at) };
  if (path?.value.kind !== "text") return withEntries(item, { artifact });
  const below = locatedText(`${path.value.text.replace(/\/+$/, "")}/${name}`, path.value.at);
  return withEntries(item, { artifact, path: { ...path, value: below } });
}
