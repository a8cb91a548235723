import { limits } from "../limits.ts";
import type { ParamType } from "./params.ts";
import { type Reading, readText } from "./reading.ts";

// Scalars of what a pipeline file writes out: parameters, matrices, conditions, services.

const identifierPattern = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;

/** The name of a parameter, or of a dimension of a matrix: expressions read it as `params.name`. */
export function readIdentifier(text: string): Reading<string> {
  if (identifierPattern.test(text)) return { value: text };
  return {
    wrong: `is not a name that expressions can read: ${JSON.stringify(text)}`,
    hint: "letters, digits and _, not beginning with a digit, at most 63",
  };
}

/** The name of a dimension; `shard` is what shards have. */
export function readDimension(text: string): Reading<string> {
  return text === "shard" ? { wrong: 'cannot be "shard", which is what shards have' } : readIdentifier(text);
}

/** What a parameter may be. */
export function readParamType(text: string): Reading<ParamType["kind"]> {
  if (text === "string" || text === "number" || text === "boolean" || text === "choice") return { value: text };
  return { wrong: `must be string, number, boolean or choice, not ${JSON.stringify(text)}` };
}

/** An expression; what it says is looked at where it is evaluated. */
export function readCondition(text: string): Reading<string> {
  if (text.trim() !== "") return { value: text };
  return { wrong: "is empty", hint: "write an expression that is true or false, for example branch == 'main'" };
}

/** A value of a matrix: it becomes part of names and texts. */
export function readMatrixValue(text: string): Reading<string> {
  if (text === "") return { wrong: "is empty" };
  if (text.length > limits.celTextChars) return { wrong: `has more than ${limits.celTextChars} characters` };
  return readText(text);
}

/** A port that a service listens on; `auto` is one that was free, as `MILLRACE_PORT_…` says. */
export function readPort(text: string): Reading<string> {
  if (text === "auto" || (/^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65_535)) return { value: text };
  return { wrong: `is not a port: ${JSON.stringify(text)}`, hint: "1 to 65535, or auto" };
}

/** Where a service answers when it is ready; the shell puts in the ports of services. */
export function readReadyUrl(text: string): Reading<string> {
  if (/^http:\/\/[A-Za-z0-9.:[\]-]*(\$\{?MILLRACE_PORT_[A-Z0-9_]+\}?)?(\/[A-Za-z0-9._~/?=&%+-]*)?$/.test(text))
    return { value: text };
  return {
    wrong: `is not an http address: ${JSON.stringify(text)}`,
    hint: "for example http://127.0.0.1:$MILLRACE_PORT_WEB/health",
  };
}

/** What starts runs by itself, once a week or so: minute, hour, day of the month, month, day of the week. */
export function readSchedule(text: string): Reading<string> {
  if (/^([\d*,/-]+ ){4}[\d*,/-]+$/.test(text)) return { value: text };
  return { wrong: `is not a schedule: ${JSON.stringify(text)}`, hint: 'five fields of cron, for example "0 3 * * *"' };
}

const refPattern = /^[^\s\0~^:\\]{1,255}$/;

/** A pattern for branches or tags. */
export function readRefPattern(text: string): Reading<string> {
  if (refPattern.test(text)) return { value: text };
  return { wrong: `is not a pattern for branches: ${JSON.stringify(text)}`, hint: 'for example "release/*"' };
}
