import { MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import { readExpression, type Variables } from "./cel-expression.ts";

/** What a condition may ask of a run whose other tasks have ended. */
export interface RunEnd {
  readonly failed: boolean;
  readonly cancelled: boolean;
}

/**
 * Whether a planned task's `when` holds. It is CEL over `run.failed`, `run.cancelled` and `run.status` (`succeeded`,
 * `failed`, or `cancelled` where both are the case). Planning has evaluated it for every run that there can be, so what
 * stands in a plan does not throw.
 * @throws MillraceError invalid_argument for an expression that no plan would hold.
 */
export function runCondition(expression: string, run: RunEnd): boolean {
  // Of a stage and of a task, each in brackets.
  const reading = readExpression(expression, 2 * limits.celBoundChars + 10);
  const result = "wrong" in reading ? reading : reading.value.evaluate({ run: runVariables(run) }, () => true);
  if ("wrong" in result) throw new MillraceError("invalid_argument", `${expression} ${result.wrong}`);
  if (typeof result.value !== "boolean") throw new MillraceError("invalid_argument", `${expression} is no condition`);
  return result.value;
}

/** `run`, as expressions know it. */
export function runVariables({
  failed,
  cancelled,
}: RunEnd): Exclude<Variables[string], string | number | bigint | boolean> {
  const status = cancelled ? "cancelled" : failed ? "failed" : "succeeded";
  return new Map<string, string | boolean>([
    ["failed", failed],
    ["cancelled", cancelled],
    ["status", status],
  ]);
}

/** Every end that a run can have. */
export const runEnds: readonly RunEnd[] = [
  { failed: false, cancelled: false },
  { failed: true, cancelled: false },
  { failed: false, cancelled: true },
  { failed: true, cancelled: true },
];
