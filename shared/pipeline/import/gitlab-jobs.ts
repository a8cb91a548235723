import type { ReportGap } from "./draft.ts";
import { type Foreign, type ForeignEntry, type ForeignMap, listOf, textsOf, valueAt } from "./foreign-yaml.ts";

/** Keys at the top that are no jobs. */
const globalKeys: ReadonlySet<string> = new Set([
  ...["stages", "default", "variables", "workflow", "include", "image", "services", "before_script", "after_script"],
  ...["cache", "spec", "pages", "types"],
]);
/** Keys of `default`, and of jobs that do not say otherwise. */
const defaults = [
  "image",
  "services",
  "before_script",
  "after_script",
  "cache",
  "artifacts",
  "retry",
  "timeout",
  "tags",
  "interruptible",
  "hooks",
  "id_tokens",
];
/** Levels of templates above one another. */
const extendsMax = 11;

/** One job with all that it inherits. */
export interface GitlabJob {
  readonly name: string;
  readonly job: ForeignMap;
}

/** The jobs of a file, written out: `extends`, `default`, and what stands at the top for all of them. */
export function gitlabJobs(file: ForeignMap, report: ReportGap): GitlabJob[] {
  const jobs: GitlabJob[] = [];
  for (const [name, { value, line }] of file.entries) {
    if (globalKeys.has(name) || name.startsWith(".")) continue;
    if (value.kind !== "map") {
      report(line, `\`${name}\` is no job and no key that is known`);
      continue;
    }
    jobs.push({ name, job: withDefaults(file, extended(file, value, report, 0)) });
  }
  return jobs;
}

function extended(file: ForeignMap, job: ForeignMap, report: ReportGap, depth: number): ForeignMap {
  const parents = textsOf(valueAt(job, "extends"));
  if (parents.length === 0) return job;
  if (depth >= extendsMax) {
    report(job.line, "`extends` goes too deep, or in a circle");
    return job;
  }
  let merged: ForeignMap = { kind: "map", entries: new Map(), line: job.line };
  for (const parent of parents) {
    const value = file.entries.get(parent)?.value;
    if (value?.kind === "map") merged = mergeMaps(merged, extended(file, value, report, depth + 1));
    else report(valueAt(job, "extends")?.line ?? job.line, `\`extends: ${parent}\`: it is not in this file`);
  }
  const { entries, line } = mergeMaps(merged, job);
  return { kind: "map", entries: new Map([...entries].filter(([key]) => key !== "extends")), line };
}

/** Mappings are merged, at all depths; of all else, the later one counts. */
function mergeMaps(below: ForeignMap, above: ForeignMap): ForeignMap {
  const entries = new Map(below.entries);
  for (const [key, entry] of above.entries) {
    const old = entries.get(key);
    if (old?.value.kind !== "map" || entry.value.kind !== "map") entries.set(key, entry);
    else entries.set(key, { ...entry, value: mergeMaps(old.value, entry.value) });
  }
  return { kind: "map", entries, line: above.line };
}

function withDefaults(file: ForeignMap, job: ForeignMap): ForeignMap {
  const own = valueAt(job, "inherit");
  const inherits = valueAt(own, "default");
  const all = !(inherits?.kind === "text" && inherits.text === "false");
  const entries = new Map(job.entries);
  for (const key of all ? defaults : []) {
    const value: ForeignEntry | undefined = entryIn(valueAt(file, "default"), key) ?? file.entries.get(key);
    if (value !== undefined && !entries.has(key)) entries.set(key, value);
  }
  return { ...job, entries };
}

function entryIn(value: Foreign | undefined, key: string): ForeignEntry | undefined {
  return value?.kind === "map" ? value.entries.get(key) : undefined;
}

/** Lines of a script, with what `!reference` names in their place. */
export function scriptLines(value: Foreign | undefined, file: ForeignMap, report: ReportGap, depth = 0): string[] {
  return listOf(value).flatMap((item): string[] => {
    if (item.kind === "text") return [item.text];
    if (item.kind === "list" && item.reference && depth < extendsMax) {
      const path = item.items.flatMap((part) => (part.kind === "text" ? [part.text] : []));
      let found: Foreign | undefined = file;
      for (const key of path) found = valueAt(found, key);
      if (found !== undefined) return scriptLines(found, file, report, depth + 1);
      report(item.line, `\`!reference [${path.join(", ")}]\`: it is not in this file`);
    }
    return [];
  });
}
