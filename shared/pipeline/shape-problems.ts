import type { z } from "zod";
import { limits } from "../limits.ts";
import { didYouMean, meant } from "./did-you-mean.ts";
import { type Level, levels } from "./schema-levels.ts";
import type { YamlPath } from "./yaml-value.ts";

/** Something wrong at a place that is given by its path; parse.ts turns it into line and column. */
export interface PathProblem {
  readonly path: YamlPath;
  readonly part: "key" | "value";
  readonly message: string;
  readonly hint?: string | undefined;
}

/** What zod found, in words for the person who wrote the file. */
export function shapeProblems(issues: readonly z.core.$ZodIssue[]): PathProblem[] {
  return issues.slice(0, limits.pipelineProblems).flatMap(explain);
}

function explain(issue: z.core.$ZodIssue): PathProblem[] {
  const path = issue.path.map((step) => (typeof step === "symbol" ? String(step) : step));
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.slice(0, limits.pipelineProblems).map((key) => unknownKey(path, key));
    case "invalid_type":
      return [wrongType(path, issue.expected, issue.input)];
    case "invalid_key": {
      const [inner] = issue.issues;
      return [{ path, part: "key", message: `this key ${inner?.message ?? issue.message}`, hint: hintOf(inner) }];
    }
    default:
      return [{ path, part: "value", message: `${title(path)} ${issue.message}`, hint: hintOf(issue) }];
  }
}

function hintOf(issue: z.core.$ZodIssue | undefined): string | undefined {
  const hint: unknown = issue?.code === "custom" ? issue.params?.hint : undefined;
  return typeof hint === "string" ? hint : undefined;
}

function unknownKey(path: YamlPath, key: string): PathProblem {
  const level = levelOf(path);
  const place = { path: [...path, key], part: "key" } as const;
  if (level.later.includes(key)) {
    return { ...place, message: `"${key}" is not supported yet`, hint: "this version cannot do that; remove the key" };
  }
  const message = `unknown key "${key}" in ${level.title}`;
  const close = didYouMean(key, level.keys);
  if (close !== undefined) return { ...place, message, hint: meant(key, close) };
  const home = Object.values(levels).find((other) => other.keys.includes(key));
  if (home !== undefined) return { ...place, message, hint: `"${key}" belongs to ${home.title}` };
  return { ...place, message, hint: `keys of ${level.title}: ${level.keys.join(", ")}` };
}

function levelOf(path: YamlPath): Level {
  const [first, second, third, fourth, fifth] = path;
  if (first === "defaults") return second === "retry" ? levels.retry : levels.defaults;
  if (first === "concurrency") return levels.concurrency;
  if (first === "params") return levels.param;
  if (first === "templates") return third === "params" ? levels.param : levels.template;
  if (first === "on") return second === undefined ? levels.trigger : levels.refs;
  if (first === "finally") return second === "tasks" ? levels.task : levels.last;
  if (first !== "stages") return levels.pipeline;
  if (third === "manual") return fourth === "fields" ? levels.field : levels.manual;
  if (third === "deploy") return path.length > 3 ? levels.probe : levels.deploy;
  if (third === "finally") return path.length > 4 ? levels.task : levels.last;
  if (third !== "tasks") return levels.stage;
  if (fifth === "services" && path.length > 6) return levels.ready;
  return belowTask.get(fifth) ?? levels.task;
}

/** By the key of the task that they stand under. */
const belowTask: ReadonlyMap<unknown, Level> = new Map([
  ["use", levels.use],
  ["retry", levels.retry],
  ["concurrency", levels.concurrency],
  ["secrets", levels.secret],
  ["services", levels.service],
]);

const typeNames = new Map([
  ["string", "text"],
  ["array", "a list"],
  ["tuple", "a list"],
  ["object", "a mapping"],
  ["record", "a mapping"],
]);

function wrongType(path: YamlPath, expected: string, input: unknown): PathProblem {
  const wanted = typeNames.get(expected) ?? expected;
  if (input === undefined) {
    const owner = path.length === 1 ? "the pipeline" : title(path.slice(0, -1));
    return { path, part: "key", message: `${owner} has no "${path.at(-1)}"`, hint: `add it: ${wanted}` };
  }
  if (input === "") return { path, part: "value", message: `${title(path)} is empty`, hint: `give it ${wanted}` };
  const given = typeof input === "string" ? "text" : Array.isArray(input) ? "a list" : "a mapping";
  const hint =
    path.length === 0
      ? "`millrace init` writes a starter"
      : wanted === "a list" && typeof input === "string"
        ? `write [${input}]`
        : undefined;
  return { path, part: "value", message: `${title(path)} must be ${wanted}, not ${given}`, hint };
}

function title(path: YamlPath): string {
  const last = path.at(-1);
  if (last === undefined) return "the file";
  return typeof last === "number" ? `an item of "${path.at(-2)}"` : `"${last}"`;
}
