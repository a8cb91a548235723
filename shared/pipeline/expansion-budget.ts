import { limits } from "../limits.ts";
import { entriesOf, type Located, memberOf, type Place } from "./located.ts";
import type { LocatedReport } from "./located-report.ts";

/**
 * What a pipeline may be written out to: a file of a megabyte can ask for a terabyte of tasks. Each of these takes from what
 * is left and answers whether there was enough; the first time that there was not is reported, and then nothing is left.
 */
export interface ExpansionBudget {
  /** One more task, without the matrix that it is a variant of. */
  task(node: Located, at: Place): boolean;
  /** The matrix of a task, which is read for it once. */
  matrix(node: Located, at: Place): boolean;
  /** Text that an expression stands in, as it is with its value. */
  text(characters: number, at: Place): boolean;
  /** What one name in a list of needs or uses stands for. */
  needs(count: number, at: Place): boolean;
  /** Steps of expressions. */
  steps(count: number, at: Place): boolean;
  /** What is written out lacks something, and nothing more needs to be looked at. */
  isSpent(): boolean;
}

const smaller = "use smaller matrices, or move what tasks have in common into a script";

export function expansionBudget(report: LocatedReport): ExpansionBudget {
  const left = {
    tasks: limits.runTasks as number,
    values: limits.pipelineExpandedValues as number,
    characters: limits.pipelineExpandedChars as number,
    needs: limits.runNeeds as number,
    steps: limits.celCostTotal as number,
  };
  const most = { ...left };
  let isSpent = false;

  function take(what: keyof typeof left, count: number, at: Place, hint: string): boolean {
    if (isSpent) return false;
    left[what] -= count;
    if (left[what] >= 0) return true;
    isSpent = true;
    const message =
      what === "steps"
        ? "the expressions of this pipeline take too long together"
        : `with everything written out, the pipeline has more than ${most[what]} ${what}`;
    report(at, message, hint);
    return false;
  }

  function takeTree(node: Located, at: Place, without?: Located): boolean {
    const { values, characters } = sizeOf(node, left, without);
    return take("values", values, at, smaller) && take("characters", characters, at, smaller);
  }

  return {
    task: (node, at) =>
      take("tasks", 1, at, "use smaller matrices, or make several pipelines of it") &&
      takeTree(node, at, memberOf(node, "matrix")),
    matrix: takeTree,
    text: (characters, at) => take("characters", characters, at, smaller),
    needs: (count, at) => take("needs", count, at, "put a task or a stage between, which all of them need"),
    steps: (count, at) => take("steps", count, at, "use fewer of them, or shorter ones"),
    isSpent: () => isSpent,
  };
}

interface Size {
  readonly values: number;
  readonly characters: number;
}

/** What stands in a tree several times counts each time; counting ends beyond `most`. */
function sizeOf(tree: Located, most: Size, without: Located | undefined): Size {
  const size = { values: 0, characters: 0 };
  const pending: Located[] = [tree];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (node === without) continue;
    size.values += 1;
    if (size.values > most.values || size.characters > most.characters) break;
    if (node.kind === "text") size.characters += node.text.length;
    else if (node.kind === "list") for (const item of node.items) pending.push(item);
    else for (const { value } of entriesOf(node).values()) pending.push(value);
  }
  return size;
}
