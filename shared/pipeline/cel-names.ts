import type { CelTree } from "./cel-cost.ts";
import { suggest } from "./did-you-mean.ts";

/** Every node of a tree, from the outside in. */
export function visitCel(tree: CelTree | undefined, visit: (node: CelTree) => void): void {
  if (tree === undefined) return;
  visit(tree);
  for (const child of childrenOf(tree)) visitCel(child, visit);
}

function childrenOf({ exprKind }: CelTree): (CelTree | undefined)[] {
  switch (exprKind.case) {
    case "selectExpr":
      return [exprKind.value.operand];
    case "callExpr":
      return [exprKind.value.target, ...exprKind.value.args];
    case "listExpr":
      return exprKind.value.elements;
    case "structExpr":
      return exprKind.value.entries.flatMap(({ keyKind, value }) =>
        keyKind.case === "mapKey" ? [keyKind.value, value] : [value],
      );
    case "comprehensionExpr": {
      const { iterRange, accuInit, loopCondition, loopStep, result } = exprKind.value;
      return [iterRange, accuInit, loopCondition, loopStep, result];
    }
    default:
      return [];
  }
}

interface Known {
  readonly [name: string]: unknown;
}

/** The first name in an expression that nothing is known by, in words; `params.x` and `matrix.x` are looked into. */
export function unknownName(
  tree: CelTree,
  variables: Known,
): { readonly wrong: string; readonly hint: string } | undefined {
  const own = new Set<string>();
  visitCel(tree, ({ exprKind }) => {
    if (exprKind.case !== "comprehensionExpr") return;
    for (const name of [exprKind.value.iterVar, exprKind.value.accuVar]) own.add(name);
  });
  let found: { wrong: string; hint: string } | undefined;
  visitCel(tree, ({ exprKind }) => {
    if (found !== undefined) return;
    if (exprKind.case === "identExpr") {
      const { name } = exprKind.value;
      if (own.has(name) || Object.hasOwn(variables, name) || types.has(name)) return;
      found = { wrong: `speaks of "${name}", which is not known here`, hint: hintFor(name, variables) };
    } else if (exprKind.case === "selectExpr" && !exprKind.value.testOnly) {
      const { operand, field } = exprKind.value;
      const root = operand?.exprKind.case === "identExpr" ? operand.exprKind.value.name : undefined;
      const members = root === undefined || own.has(root) ? undefined : variables[root];
      if (!(members instanceof Map) || members.has(field)) return;
      const names = [...members.keys()].map(String);
      found = {
        wrong: `speaks of ${root}.${field}, which is not there`,
        hint: suggest(field, names, `names in ${root}`),
      };
    }
  });
  return found;
}

const types = new Set(["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"]);

const places: ReadonlyMap<string, string> = new Map([
  ["matrix", "only a task with a `matrix` has it"],
  ["shard", "only a task with `shards` has it"],
  ["with", "only a template has it"],
  ["run", "it is known when the run has ended: write it in `when` of a task below `finally`"],
]);

function hintFor(name: string, variables: Known): string {
  return places.get(name) ?? suggest(name, Object.keys(variables), "what is known");
}
