import { limits } from "../limits.ts";
import type { Variables, VariableValue } from "./cel-expression.ts";
import { type Condition, type ConditionsDeps, conditionOf } from "./conditions.ts";
import type { Expressions } from "./expressions.ts";
import {
  entriesOf,
  type Located,
  type LocatedEntry,
  type LocatedMap,
  locatedText,
  memberOf,
  withEntries,
} from "./located.ts";
import { type Combination, combinationsOf, variantNames } from "./matrix.ts";
import { type GivenParam, resolveParams } from "./params.ts";
import { applyTemplate, type Templated } from "./templates.ts";

/** A task that a run can have, of one in the file. */
export interface TaskVariant {
  readonly name: string;
  readonly entry: LocatedEntry;
  readonly condition: Condition;
  /** What tells it from the others, by name; empty for a task that is the one in the file. */
  readonly variant: Readonly<Record<string, string>>;
}

export interface ExpandTaskDeps extends ConditionsDeps {
  readonly templates: Located | undefined;
  readonly isSample: boolean;
}

export interface TaskRequest {
  readonly name: string;
  readonly entry: LocatedEntry;
  readonly scope: Variables;
  readonly isFinal: boolean;
  /** Names that tasks of the stage have; those of variants are added. */
  readonly taken: Set<string>;
}

interface Shape {
  readonly combination: Combination;
  readonly shard?: { readonly index: number; readonly count: number };
}

/** Writes out the template, the matrix, the shards and the expressions of a task, in this order. */
export function expandTask({ name, entry, scope, isFinal, taken }: TaskRequest, deps: ExpandTaskDeps): TaskVariant[] {
  const templated = applyTemplate(entry.value, deps.templates, deps.report);
  const matrix = memberOf(templated.task, "matrix");
  if (matrix !== undefined && !deps.budget.matrix(matrix, entry.key)) return [];
  const shapes = shapesOf(templated.task, scope, deps);
  if (shapes === undefined) {
    return [
      {
        name,
        entry: { ...entry, value: withoutExpressions(templated.task, deps.expressions) },
        condition: { said: [] },
        variant: {},
      },
    ];
  }
  const isPlain = shapes.length === 1 && shapes[0]?.combination.size === 0 && shapes[0].shard === undefined;
  const names = isPlain ? [{ name, suffix: "" }] : variantNames(name, shapes.map(valuesOf), taken);
  return shapes.flatMap((shape, index): TaskVariant[] => {
    if (!deps.budget.task(templated.task, entry.key)) return [];
    const given = names[index] ?? { name, suffix: "" };
    const inner = scopeOf(shape, given.suffix === "" ? scope : { ...scope, variant: given.suffix }, templated, deps);
    const node = written(templated.task, inner, shape, deps);
    const condition = conditionOf({ node: templated.task, scope: inner, isFinal }, deps);
    return [{ name: given.name, entry: { ...entry, value: node }, condition, variant: variantOf(shape) }];
  });
}

function valuesOf({ combination, shard }: Shape): string[] {
  return [...combination.values(), ...(shard === undefined ? [] : [`${shard.index}-of-${shard.count}`])];
}

function variantOf({ combination, shard }: Shape): Readonly<Record<string, string>> {
  const of = shard === undefined ? {} : { shard: `${shard.index}/${shard.count}` };
  return { ...Object.fromEntries(combination), ...of };
}

/** Undefined when matrix or shards are wrong. */
function shapesOf(task: Located, scope: Variables, { expressions, report }: ExpandTaskDeps): Shape[] | undefined {
  const written = memberOf(task, "matrix");
  const matrix = written === undefined ? undefined : expressions.interpolate(written, scope, true);
  const combinations = matrix === undefined ? [new Map<string, string>()] : combinationsOf(matrix, report);
  const given = memberOf(task, "shards");
  if (combinations === undefined) return undefined;
  if (given === undefined) return combinations.map((combination) => ({ combination }));
  const shards = expressions.interpolate(given, scope);
  if (shards.kind !== "text" || !/^[1-9]\d{0,4}$/.test(shards.text)) return undefined;
  const count = Number(shards.text);
  if (count * combinations.length > limits.runTasks) {
    report(shards.at, `${combinations.length} × ${count} shards are more than ${limits.runTasks} tasks`, "use fewer");
    return undefined;
  }
  const indexes = Array.from({ length: count }, (_, index) => index + 1);
  return combinations.flatMap((combination) => indexes.map((index) => ({ combination, shard: { index, count } })));
}

function scopeOf(
  { combination, shard }: Shape,
  scope: Variables,
  templated: Templated,
  deps: ExpandTaskDeps,
): Variables {
  const own: Record<string, VariableValue> = {
    ...(combination.size === 0 ? {} : { matrix: combination }),
    ...(shard === undefined
      ? {}
      : { shard: new Map([["index", BigInt(shard.index)] as const, ["count", BigInt(shard.count)] as const]) }),
  };
  const inner = { ...scope, ...own };
  const { params, given, task } = templated;
  if (params === undefined && given === undefined) return inner;
  if (given !== undefined && given.kind !== "map") deps.report(given.at, '"with" must be a mapping');
  const values = given === undefined ? undefined : deps.expressions.interpolate(given, inner, true);
  const texts = [...entriesOf(values)].flatMap(([name, { key, value }]): [string, GivenParam][] =>
    value.kind === "text" ? [[name, { text: value.text, at: key }]] : [],
  );
  const how = (name: string) => `give it one: with: { ${name}: … }`;
  const request = { declared: params, given: new Map(texts), at: given?.at ?? task.at, how, isSample: false };
  return { ...inner, with: resolveParams(request, deps.report).values };
}

/** Without what has had its effect; conditions stay as they are, for the check of shapes. */
function written(task: Located, scope: Variables, shape: Shape, { expressions }: ExpandTaskDeps): Located {
  if (task.kind !== "map") return task;
  const { when, changes } = Object.fromEntries(task.entries);
  const rest = withEntries(task, { matrix: undefined, shards: undefined, when: undefined, changes: undefined });
  const node = withShardEnv(expressions.interpolate(rest, scope), shape);
  return node.kind === "map" && (when !== undefined || changes !== undefined)
    ? withConditions(node, { when, changes })
    : node;
}

/** Puts conditions back that were kept from being written out. */
export function withConditions(
  node: LocatedMap,
  conditions: { readonly when: LocatedEntry | undefined; readonly changes: LocatedEntry | undefined },
): LocatedMap {
  return withEntries(node, Object.fromEntries(Object.entries(conditions).filter(([, entry]) => entry !== undefined)));
}

/** A task whose variants are not known: what depends on them would only be wrong a second time. */
function withoutExpressions(task: Located, { embeds }: Pick<Expressions, "embeds">): Located {
  if (task.kind !== "map") return task;
  const entries = [...task.entries].filter(([key, { value }]) => key === "run" || key === "matrix" || !embeds(value));
  return { ...task, entries: new Map(entries) };
}

function withShardEnv(task: Located, { shard }: Shape): Located {
  const env = memberOf(task, "env");
  if (shard === undefined || task.kind !== "map" || (env !== undefined && env.kind !== "map")) return task;
  const entry = (text: number) => ({ key: task.at, value: locatedText(String(text), task.at) });
  const own: LocatedMap = {
    kind: "map",
    at: task.at,
    entries: new Map([
      ["MILLRACE_SHARD_INDEX", entry(shard.index)],
      ["MILLRACE_SHARD_COUNT", entry(shard.count)],
    ]),
  };
  const both = env === undefined ? own : { ...own, entries: new Map([...env.entries, ...own.entries]) };
  return withEntries(task, { env: { key: task.entries.get("env")?.key ?? task.at, value: both } });
}
