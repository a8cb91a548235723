import type { Variables } from "./cel-expression.ts";
import { changedIn } from "./changed-paths.ts";
import { type Condition, conditionOf } from "./conditions.ts";
import { type ExpandTaskDeps, expandTask, type TaskVariant, withConditions } from "./expand-task.ts";
import { type ExpansionBudget, expansionBudget } from "./expansion-budget.ts";
import { expressions } from "./expressions.ts";
import {
  entriesOf,
  type Located,
  type LocatedEntry,
  type LocatedMap,
  locatedText,
  memberOf,
  type Place,
  withEntries,
} from "./located.ts";
import type { LocatedReport } from "./located-report.ts";
import { type GivenParam, type ParamValues, type ResolvedParams, resolveParams } from "./params.ts";
import type { PlanContext } from "./plan-context.ts";
import { expandUses } from "./use-patterns.ts";

/** What is known of a task that does not stand in its text. */
export interface TaskOrigin {
  /** `stage/task` of the file, where it is one of several variants of it. */
  readonly madeFrom?: string;
  readonly variant: Readonly<Record<string, string>>;
  readonly condition: Condition;
  /** It runs after all others, however they ended. */
  readonly isFinal: boolean;
}

/** A pipeline with everything written out: nothing in it depends on anything but itself. */
export interface Expansion {
  readonly top: Located;
  /** By `stage/task`; every task has one. */
  readonly origins: ReadonlyMap<string, TaskOrigin>;
  readonly params: ParamValues;
  /** False when there is more than may be, which was reported: the tree then lacks tasks. */
  readonly isWhole: boolean;
  /** Hints for values that rest on examples of parameters, by their places. */
  readonly doubts: ReadonlyMap<Place, string>;
}

/** The name of the stage that the tasks of a pipeline's `finally` become. */
const finalStage = "finally";

/**
 * Writes out parameters, templates, matrices, shards, expressions and `finally`, by rewriting the tree of the file: what
 * comes out is a pipeline of plain stages and tasks, whose every value still leads to where it was written. What has
 * another shape than it should is left as it is, for the check of shapes to find.
 */
export function expandPipeline(top: Located, context: PlanContext, report: LocatedReport): Expansion {
  if (top.kind !== "map") return { top, origins: new Map(), params: new Map(), isWhole: true, doubts: new Map() };
  const { values: params, examples } = paramsOf(top, context, report);
  const budget = expansionBudget(report);
  const isChanged = changedIn(context.changedPaths);
  const evaluator = expressions({ report, budget, isChanged, examples });
  const { branch, tag, commit, project, trigger, isSample } = context;
  const scope: Variables = { params, branch, tag, commit, project, trigger };
  const deps: ExpandTaskDeps = {
    ...{ expressions: evaluator, isChanged, report, budget, isSample },
    templates: memberOf(top, "templates"),
  };
  const origins = new Map<string, TaskOrigin>();
  const stages = new Map<string, LocatedEntry>();
  const withFinal = withFinalStage(top, report);
  for (const [name, entry] of entriesOf(memberOf(withFinal, "stages"))) {
    const isFinal = name === finalStage && withFinal !== top;
    stages.set(name, { ...entry, value: expandStage({ name, node: entry.value, scope, isFinal, origins }, deps) });
  }
  const rest = new Map(withFinal.entries);
  for (const key of ["name", "concurrency", "defaults"]) {
    const entry = rest.get(key);
    if (entry !== undefined) rest.set(key, { ...entry, value: evaluator.interpolate(entry.value, scope) });
  }
  const stagesEntry = rest.get("stages");
  if (stagesEntry?.value.kind === "map")
    rest.set("stages", { ...stagesEntry, value: { ...stagesEntry.value, entries: expandUses(stages, budget) } });
  return {
    top: { ...withFinal, entries: rest },
    origins,
    params,
    isWhole: !budget.isSpent(),
    doubts: evaluator.doubts,
  };
}

function paramsOf(top: LocatedMap, { params, isSample }: PlanContext, report: LocatedReport): ResolvedParams {
  const entry = top.entries.get("params");
  const at = entry?.key ?? top.at;
  const given = Object.entries(params).map(([name, text]): [string, GivenParam] => [name, { text, at }]);
  const how = (name: string) => `give it one with --param ${name}=…, or a default`;
  return resolveParams({ declared: entry?.value, given: new Map(given), at, how, isSample }, report);
}

/** The pipeline's `finally` as a stage that needs all others. */
function withFinalStage(top: LocatedMap, report: LocatedReport): LocatedMap {
  const entry = top.entries.get("finally");
  const stages = memberOf(top, "stages");
  if (entry?.value.kind !== "map" || stages?.kind !== "map" || memberOf(entry.value, "tasks") === undefined) return top;
  const present = stages.entries.get(finalStage);
  if (present !== undefined) {
    report(
      present.key,
      `a stage cannot be called "${finalStage}" where the pipeline has "finally"`,
      "give it another name",
    );
    return top;
  }
  const needs: Located = {
    kind: "list",
    items: [...stages.entries.keys()].map((name) => locatedText(name, entry.key)),
    at: entry.key,
  };
  const stage = withEntries(entry.value, { needs: { key: entry.key, value: needs } });
  const withStage = withEntries(stages, { [finalStage]: { ...entry, value: stage } });
  const stagesKey = top.entries.get("stages")?.key ?? top.at;
  return withEntries(top, { finally: undefined, stages: { key: stagesKey, value: withStage } });
}

interface StageRequest {
  readonly name: string;
  readonly node: Located;
  readonly scope: Variables;
  readonly isFinal: boolean;
  /** Those of its tasks are added. */
  readonly origins: Map<string, TaskOrigin>;
}

function expandStage({ name, node, scope, isFinal, origins }: StageRequest, deps: ExpandTaskDeps): Located {
  if (node.kind !== "map") return node;
  const stage = conditionOf({ node, scope, isFinal }, deps);
  const own = withEntries(node, { when: undefined, changes: undefined, tasks: undefined, finally: undefined });
  const interpolated = deps.expressions.interpolate(own, scope);
  const { when, changes } = Object.fromEntries(node.entries);
  const rest = interpolated.kind === "map" ? withConditions(interpolated, { when, changes }) : interpolated;
  const written = memberOf(node, "tasks");
  const cleanup = isFinal ? undefined : memberOf(memberOf(node, "finally"), "tasks");
  const taken = new Set([...entriesOf(written).keys(), ...entriesOf(cleanup).keys()]);
  const tasks = new Map<string, LocatedEntry>();
  const variants = new Map<string, readonly string[]>();

  const add = (from: Located | undefined, isLast: boolean): void => {
    for (const [task, entry] of entriesOf(from)) {
      if (deps.budget.isSpent()) return;
      if (isLast && tasks.has(task))
        deps.report(entry.key, `there is a task "${task}" in this stage already`, "give one of them another name");
      const made = expandTask({ name: task, entry, scope, isFinal: isLast, taken }, deps);
      const names = made.map((variant) => variant.name);
      if (names.length !== 1 || names[0] !== task) variants.set(task, names);
      for (const variant of made) {
        tasks.set(variant.name, variant.entry);
        origins.set(`${name}/${variant.name}`, originOf(variant, { task: `${name}/${task}`, stage, isLast }));
      }
    }
  };

  add(written, isFinal);
  const before = [...tasks.keys()];
  add(cleanup, true);
  for (const special of ["manual", "deploy"] as const) {
    if (memberOf(node, special) === undefined) continue;
    const task = special === "manual" ? "approval" : special;
    origins.set(`${name}/${task}`, { variant: {}, condition: stage, isFinal: false });
  }
  const cleaning = new Set(tasks.keys()).difference(new Set(before));
  const whole = withNeeds({ tasks, variants, before, cleanup: cleaning }, deps.budget);
  if (rest.kind !== "map" || (written === undefined && cleanup === undefined)) return withFinallyOf(node, rest);
  if (written !== undefined && written.kind !== "map") return node;
  const key = node.entries.get("tasks")?.key ?? node.at;
  const value: Located = { kind: "map", at: written?.at ?? node.at, entries: whole };
  return withEntries(rest, { tasks: { key, value } });
}

/** A `finally` of the wrong shape stays, for the check of shapes to find. */
function withFinallyOf(node: LocatedMap, rest: Located): Located {
  const entry = node.entries.get("finally");
  return entry === undefined || rest.kind !== "map" ? rest : withEntries(rest, { finally: entry });
}

function originOf(
  { name, condition, variant }: TaskVariant,
  { task, stage, isLast }: { readonly task: string; readonly stage: Condition; readonly isLast: boolean },
): TaskOrigin {
  const madeFrom = task.endsWith(`/${name}`) && Object.keys(variant).length === 0 ? {} : { madeFrom: task };
  const unmet = stage.unmet ?? condition.unmet;
  const asked = [stage.when, condition.when].filter((when) => when !== undefined);
  const when = asked.length > 1 ? asked.map((one) => `(${one})`).join(" && ") : asked[0];
  const outcome = unmet !== undefined ? { unmet } : when === undefined ? {} : { when };
  const said = [...stage.said, ...condition.said];
  return { ...madeFrom, variant, condition: { said, ...outcome }, isFinal: isLast };
}

interface StageTasks {
  readonly tasks: ReadonlyMap<string, LocatedEntry>;
  /** Names of the variants of each task that is not itself there. */
  readonly variants: ReadonlyMap<string, readonly string[]>;
  readonly before: readonly string[];
  /** Those that wait for all of `before`. */
  readonly cleanup: ReadonlySet<string>;
}

/** A need of a task means all its variants. */
function withNeeds(
  { tasks, variants, before, cleanup }: StageTasks,
  budget: ExpansionBudget,
): ReadonlyMap<string, LocatedEntry> {
  // Variants of one task share the node of their needs.
  const written = new Map<Located, Located>();
  const expanded = (needs: Located): Located => {
    if (needs.kind !== "list" || variants.size === 0) return needs;
    const known = written.get(needs);
    if (known !== undefined) return known;
    const items = needs.items.flatMap((item) => {
      const names = item.kind === "text" ? variants.get(item.text) : undefined;
      return names === undefined ? [item] : names.map((name) => locatedText(name, item.at));
    });
    const list = { ...needs, items };
    written.set(needs, list);
    return list;
  };
  const result = new Map<string, LocatedEntry>();
  for (const [name, entry] of tasks) {
    if (entry.value.kind !== "map") {
      result.set(name, entry);
      continue;
    }
    const needs = entry.value.entries.get("needs");
    const place = needs?.key ?? entry.key;
    let value = needs === undefined ? undefined : expanded(needs.value);
    const count = (value?.kind === "list" ? value.items.length : 0) + (cleanup.has(name) ? before.length : 0);
    if (!budget.needs(count, place)) break;
    if (cleanup.has(name)) {
      const own = value?.kind === "list" ? value.items : [];
      const all = before.map((task) => locatedText(task, entry.key));
      value = { kind: "list", at: value?.at ?? entry.key, items: [...own, ...all] };
    }
    if (value === undefined || value === needs?.value) result.set(name, entry);
    else result.set(name, { ...entry, value: withEntries(entry.value, { needs: { key: place, value } }) });
  }
  return result;
}
