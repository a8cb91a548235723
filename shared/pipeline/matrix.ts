import { hash } from "node:crypto";
import { limits } from "../limits.ts";
import { entriesOf, type Located, plainValue, textsOf } from "./located.ts";
import type { LocatedReport } from "./located-report.ts";
import { matrix as matrixShape } from "./schema-language.ts";

/** Values that tell one variant of a task from the others, by dimension, in the order of the file. */
export type Combination = ReadonlyMap<string, string>;

/**
 * All combinations of a matrix: every value of each dimension with every value of the others, without those that
 * `exclude` names, and those of `include`. Undefined when its shape is wrong, which is said elsewhere, or when a problem
 * was reported.
 */
export function combinationsOf(matrix: Located, report: LocatedReport): readonly Combination[] | undefined {
  if (matrix.kind !== "map" || !matrixShape.safeParse(plainValue(matrix)).success) return undefined;
  const dimensions = [...matrix.entries].filter(([name]) => name !== "include" && name !== "exclude");
  const sizes = dimensions.map(([, { value }]) => textsOf(value).length);
  const count = dimensions.length === 0 ? 0 : sizes.reduce((product, size) => product * size, 1);
  if (count > limits.runTasks) {
    const message = `the matrix has ${sizes.join(" × ")} = ${count} combinations; at most ${limits.runTasks} are possible`;
    report(matrix.at, message, "leave out values, or make several pipelines of it");
    return undefined;
  }
  let all: Combination[] = dimensions.length === 0 ? [] : [new Map()];
  for (const [name, { value }] of dimensions) {
    const values = textsOf(value).map(({ text }) => text);
    all = all.flatMap((before) => values.map((text) => new Map([...before, [name, text]])));
  }
  const isDimension = (name: string) => dimensions.some(([dimension]) => dimension === name);
  const excluded = maps(matrix.entries.get("exclude")?.value).filter((one) => [...one.keys()].every(isDimension));
  const isExcluded = matcherOf(excluded);
  const kept = all.filter((one) => !isExcluded(one));
  const combinations = distinct([...kept, ...maps(matrix.entries.get("include")?.value)]);
  if (combinations.length > 0) return combinations;
  report(matrix.at, "the matrix has no combination", "give it a dimension with values, or include a combination");
  return undefined;
}

function maps(list: Located | undefined): Combination[] {
  if (list?.kind !== "list") return [];
  return list.items.flatMap((item) => {
    const values = [...entriesOf(item)].flatMap(([name, { value }]): [string, string][] =>
      value.kind === "text" ? [[name, value.text]] : [],
    );
    return values.length === 0 ? [] : [new Map(values)];
  });
}

/**
 * Whether a combination has all values of one of the patterns. Patterns of the same names are looked up together: comparing
 * 20,000 combinations with 20,000 patterns one by one takes a minute.
 */
function matcherOf(patterns: readonly Combination[]): (combination: Combination) => boolean {
  const byNames = new Map<string, { readonly names: readonly string[]; readonly values: Set<string> }>();
  for (const pattern of patterns) {
    const names = [...pattern.keys()].sort();
    const key = names.join();
    const alike = byNames.get(key) ?? { names, values: new Set() };
    byNames.set(key, alike);
    alike.values.add(valuesIn(pattern, names));
  }
  return (combination) => [...byNames.values()].some(({ names, values }) => values.has(valuesIn(combination, names)));
}

function valuesIn(combination: Combination, names: readonly string[]): string {
  return JSON.stringify(names.map((name) => combination.get(name)));
}

function distinct(combinations: readonly Combination[]): Combination[] {
  return [...new Map(combinations.map((one) => [JSON.stringify([...one]), one])).values()];
}

const nameMax = 63;

/** How a variant of a task is called. */
export interface VariantName {
  readonly name: string;
  /** What follows the name of the task; its letters may stand in the name of an artifact. */
  readonly suffix: string;
}

/**
 * Names of the variants of a task: `unit-22-linux`, by their values alone, so that a variant keeps its name when others
 * come and go. Where that would be too long, or the name of something else, the end is a short hash of the values.
 * @param values of each variant, and its shard if there are any.
 * @param taken names that others have; those that are given are added.
 */
export function variantNames(task: string, values: readonly (readonly string[])[], taken: Set<string>): VariantName[] {
  const suffixes = values.map((parts) =>
    parts
      .map(nameable)
      .filter((part) => part !== "")
      .join("-"),
  );
  const counts = new Map<string, number>();
  for (const suffix of suffixes) counts.set(suffix, (counts.get(suffix) ?? 0) + 1);
  return suffixes.map((suffix, index) => {
    const plain = `${task}-${suffix}`;
    const isPlain = suffix !== "" && plain.length <= nameMax && counts.get(suffix) === 1 && !taken.has(plain);
    const short = hash("sha256", JSON.stringify([task, values[index]])).slice(0, 8);
    const given = isPlain
      ? { name: plain, suffix }
      : { name: `${plain.slice(0, nameMax - 9)}-${short}`, suffix: short };
    taken.add(given.name);
    return given;
  });
}

function nameable(value: string): string {
  return value
    .toLowerCase()
    .replace(/[^a-z0-9_]+/g, "-")
    .replace(/^-+|-+$/g, "");
}
