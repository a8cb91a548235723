import type { parse } from "@bufbuild/cel";
import { limits } from "../limits.ts";

/** The syntax tree of a CEL expression. */
export type CelTree = ReturnType<typeof parse>["expr"];

/** Bounds from above: characters and elements of a value, how many elements it has, and steps to come to it. */
interface Estimate {
  readonly size: number;
  readonly count: number;
  readonly cost: number;
}

type Sizes = ReadonlyMap<string, Estimate>;

/**
 * How many steps an expression takes at most, whatever its variables hold, found without evaluating it: hostile ones
 * double a text in each of twenty nested `map`s. Infinite where a value on the way would have more than
 * `limits.celValueSize` characters and elements. Sizes of variables are those of `limits.celTextChars`.
 */
export function celCost(tree: CelTree): number {
  return estimate(tree, new Map()).cost;
}

const constant: Estimate = { size: 1, count: 0, cost: 1 };

function estimate(tree: CelTree | undefined, sizes: Sizes): Estimate {
  const found = estimateKind(tree?.exprKind, sizes);
  return found.size <= limits.celValueSize ? found : { ...found, cost: Number.POSITIVE_INFINITY };
}

function estimateKind(kind: CelTree["exprKind"] | undefined, sizes: Sizes): Estimate {
  switch (kind?.case) {
    case "constExpr": {
      const { constantKind } = kind.value;
      const isLong = constantKind.case === "stringValue" || constantKind.case === "bytesValue";
      return { ...constant, size: isLong ? constantKind.value.length + 1 : 1 };
    }
    case "identExpr":
      return sizes.get(kind.value.name) ?? { size: limits.celTextChars, count: limits.celTextChars, cost: 1 };
    case "selectExpr": {
      const operand = estimate(kind.value.operand, sizes);
      return { ...operand, cost: operand.cost + 1 };
    }
    case "callExpr": {
      const { target, args, function: name } = kind.value;
      const parts = [...(target === undefined ? [] : [target]), ...args].map((part) => estimate(part, sizes));
      return estimateCall(name, parts);
    }
    case "listExpr":
      return together(kind.value.elements.map((element) => estimate(element, sizes)));
    case "structExpr":
      return together(
        kind.value.entries.flatMap(({ keyKind, value }) => [
          ...(keyKind.case === "mapKey" ? [estimate(keyKind.value, sizes)] : []),
          estimate(value, sizes),
        ]),
      );
    case "comprehensionExpr":
      return estimateLoop(kind.value, sizes);
    default:
      return constant;
  }
}

function together(parts: readonly Estimate[]): Estimate {
  return { size: sum(parts, "size") + 1, count: parts.length, cost: sum(parts, "cost") + parts.length + 1 };
}

function sum(parts: readonly Estimate[], key: keyof Estimate): number {
  return parts.reduce((total, part) => total + part[key], 0);
}

const yieldsOne = new Set([
  "_&&_",
  "_||_",
  "!_",
  "@not_strictly_false",
  "size",
  "int",
  "uint",
  "double",
  "bool",
  "type",
]);
const compares = new Set(["_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "startsWith", "endsWith"]);
const searches = new Set(["contains", "matches", "@in"]);

function estimateCall(name: string, parts: readonly Estimate[]): Estimate {
  const size = sum(parts, "size");
  const cost = sum(parts, "cost") + 1;
  if (yieldsOne.has(name)) return { size: 1, count: 0, cost: cost + parts.length };
  if (compares.has(name)) return { size: 1, count: 0, cost: cost + Math.min(...parts.map((part) => part.size)) };
  if (searches.has(name)) {
    return { size: 1, count: 0, cost: cost + parts.reduce((product, part) => product * part.size, 1) };
  }
  if (name === "_?_:_" || name === "_[_]") {
    return { size: Math.max(...parts.map((part) => part.size)), count: sum(parts, "count"), cost };
  }
  // What is unknown is refused elsewhere; conversions write some types longer than they are.
  return { size: name === "_+_" ? size : 4 * size + 64, count: sum(parts, "count"), cost: cost + size };
}

type Loop = Extract<CelTree["exprKind"], { case: "comprehensionExpr" }>["value"];

/**
 * The macros make loops whose result only grows, by the same amount each time at most, and name it as no expression can:
 * how much one step adds tells of all.
 */
function estimateLoop(loop: Loop, sizes: Sizes): Estimate {
  const range = estimate(loop.iterRange, sizes);
  const start = estimate(loop.accuInit, sizes);
  const times = range.count;
  const inside = (result: Estimate): Sizes =>
    new Map([
      ...sizes,
      [loop.iterVar, { size: range.size, count: range.size, cost: 1 }],
      [loop.accuVar, { ...result, cost: 1 }],
    ]);
  const once = estimate(loop.loopStep, inside(start));
  const size = start.size + times * Math.max(0, once.size - start.size);
  const count = start.count + times * Math.max(0, once.count - start.count);
  const within = inside({ size, count, cost: 1 });
  const step = estimate(loop.loopStep, within).cost + estimate(loop.loopCondition, within).cost;
  const result = estimate(loop.result, within);
  return { ...result, cost: range.cost + start.cost + (times + 1) * step + result.cost };
}
