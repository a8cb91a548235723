import { CelScalar, type CelValue, celEnv, celFunc, isCelError, isCelUint, listType, parse, plan } from "@bufbuild/cel";
import { limits } from "../limits.ts";
import { type CelTree, celCost } from "./cel-cost.ts";
import { unknownName, visitCel } from "./cel-names.ts";
import type { Reading } from "./reading.ts";

/** What expressions speak of, by name. */
export type Variables = Readonly<Record<string, VariableValue>>;
export type VariableValue =
  | string
  | bigint
  | number
  | boolean
  | ReadonlyMap<string, string | bigint | number | boolean>;

/** An expression that has been read and is known to end soon. */
export interface Expression {
  readonly text: string;
  /** Steps that it takes at most; see cel-cost.ts. */
  readonly cost: number;
  /** It speaks of `run`, so what it comes to is only known when a run has ended. */
  readonly readsRun: boolean;
  /** Variables at the beginning of what it speaks of. */
  readonly roots: ReadonlySet<string>;
  readonly callsChanged: boolean;
  evaluate(variables: Variables, changed: (patterns: readonly string[]) => boolean): Reading<CelValue>;
}

/**
 * Reads a CEL expression. It is refused when it is too long, or could take more than `limits.celCost` steps with the
 * greatest variables that there may be, so that evaluating it needs no watch.
 * @param charsMax is greater for what planning has written, with values of variables in it.
 */
export function readExpression(text: string, charsMax: number = limits.celChars): Reading<Expression> {
  if (text.length > charsMax) return { wrong: `is too long an expression: at most ${charsMax} characters` };
  if (text.trim() === "") return { wrong: "is an empty expression", hint: "for example branch == 'main'" };
  let tree: CelTree;
  try {
    tree = parse(text).expr;
  } catch (error) {
    return {
      wrong: `is not an expression: ${syntaxMessage(error)}`,
      hint: "expressions are written in CEL: https://cel.dev",
    };
  }
  const cost = celCost(tree);
  if (!(cost <= limits.celCost)) {
    return { wrong: "is an expression that could take too long", hint: "loop over fewer things, or over shorter ones" };
  }
  let changed: (patterns: readonly string[]) => boolean = () => true;
  const evaluator = plan(
    environment((patterns) => changed(patterns)),
    tree,
  );
  const { roots, functions } = mentionsOf(tree);
  return {
    value: {
      ...{ text, cost, roots, readsRun: roots.has("run"), callsChanged: functions.has("changed") },
      evaluate(variables, isChanged) {
        const unknown = unknownName(tree, variables);
        if (unknown !== undefined) return unknown;
        const large = Object.entries(variables).find(([, value]) => !isBounded(value));
        if (large !== undefined) return { wrong: `has more than ${limits.celTextChars} characters in "${large[0]}"` };
        changed = isChanged;
        const result = evaluator(variables);
        return isCelError(result) ? { wrong: `cannot be evaluated: ${firstLine(result.message)}` } : { value: result };
      },
    },
  };
}

/** As it is put into a text; undefined for what has no one way to be written, such as a list. */
export function celText(value: CelValue): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value === "boolean" || typeof value === "bigint" || typeof value === "number") return String(value);
  return isCelUint(value) ? String(value.value) : undefined;
}

function environment(changed: (patterns: readonly string[]) => boolean) {
  const one = celFunc("changed", [CelScalar.STRING], CelScalar.BOOL, (pattern) => changed([pattern]));
  const many = celFunc("changed", [listType(CelScalar.STRING)], CelScalar.BOOL, (patterns) =>
    changed([...patterns].map(pattern)),
  );
  return celEnv({ funcs: [one, many] });
}

function pattern(value: CelValue): string {
  if (typeof value === "string") return value;
  throw new TypeError("changed() takes one pattern, or a list of them");
}

function isBounded(value: VariableValue): boolean {
  if (typeof value === "string") return value.length <= limits.celTextChars;
  return typeof value !== "object" || [...value.values()].every(isBounded);
}

function syntaxMessage(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const [, column, found] = /^<input>:\d+:(\d+): found (.*?)( but expecting .*)?$/s.exec(text) ?? [];
  return found === undefined ? firstLine(text) : `unexpected ${found} at character ${column}`;
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? "";
}

function mentionsOf(tree: CelTree) {
  const roots = new Set<string>();
  const functions = new Set<string>();
  visitCel(tree, (node) => {
    if (node.exprKind.case === "identExpr") roots.add(node.exprKind.value.name);
    if (node.exprKind.case === "callExpr") functions.add(node.exprKind.value.function);
  });
  return { roots, functions };
}
