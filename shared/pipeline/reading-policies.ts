import { constants } from "node:os";
import { limits } from "../limits.ts";
import type { Concurrency, GateField, RetryCause } from "./pipeline.ts";
import type { Reading } from "./reading.ts";

// Scalars that say what happens when something fails, is full or is asked of people.

const endings = ["any", "timeout", "out-of-memory", "output-missing"] as const;

/** What a retry policy names: `exit 75`, `SIGSEGV`, or one of `endings`. */
export function readRetryCause(text: string): Reading<RetryCause> {
  const exitCode = /^exit ([1-9]\d{0,2})$/.exec(text)?.[1];
  if (exitCode !== undefined && Number(exitCode) <= 255) return { value: { exitCode: Number(exitCode) } };
  if (Object.hasOwn(constants.signals, text)) return { value: { signal: text } };
  const ending = endings.find((word) => word === text);
  if (ending !== undefined) return { value: { ending } };
  return {
    wrong: `is not an ending: ${JSON.stringify(text)}`,
    hint: `write "exit 75" for an exit code, a signal such as SIGSEGV, or ${endings.join(", ")}`,
  };
}

/** A whole number without a sign, from `least` to `most`. */
export function wholeNumber(least: number, most: number) {
  const read = (text: string): Reading<number> => {
    const value = Number(text);
    if (/^\d{1,9}$/.test(text) && value >= least && value <= most) return { value };
    return { wrong: `must be a whole number from ${least} to ${most}, not ${JSON.stringify(text)}` };
  };
  return Object.assign(read, { written: { type: "integer", minimum: least, maximum: most } as const });
}

export const groupPattern = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/;

/** The name of a concurrency group; branches and environments are often part of it. */
export function readGroup(text: string): Reading<string> {
  if (groupPattern.test(text)) return { value: text };
  return {
    wrong: `is not the name of a concurrency group: ${JSON.stringify(text)}`,
    hint: "1 to 128 letters, digits, . _ / and -, and begin with a letter or digit",
  };
}

/** What becomes of the next one when a group is full. */
export function readPolicy(text: string): Reading<Concurrency["policy"]> {
  if (text === "queue" || text === "cancel-superseded") return { value: text };
  return { wrong: `must be queue or cancel-superseded, not ${JSON.stringify(text)}` };
}

/** What a field of a gate's form may hold. */
export function readFieldType(text: string): Reading<GateField["type"]> {
  if (text === "text" || text === "number" || text === "boolean" || text === "choice") return { value: text };
  return { wrong: `must be text, number, boolean or choice, not ${JSON.stringify(text)}` };
}

/** How many people a gate asks for. */
export const readApprovals = wholeNumber(1, limits.gateApprovalsMax);
