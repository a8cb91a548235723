import { limits } from "../limits.ts";

/** What a scalar of a pipeline file means, or what is wrong with it: `wrong` continues the sentence `"key" …`. */
export type Reading<T> = { readonly value: T } | { readonly wrong: string; readonly hint?: string };

export const namePattern = /^[a-z0-9][a-z0-9_-]{0,62}$/;
export const variablePattern = /^[A-Za-z_][A-Za-z0-9_]{0,254}$/;
export const labelPattern = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/;

/** The name of a pipeline, stage, task or artifact: it becomes a path, a label of a graph and an argument of commands. */
export function readName(text: string): Reading<string> {
  if (namePattern.test(text)) return { value: text };
  return {
    wrong: `is not a name: ${JSON.stringify(text)}`,
    hint: "names are 1 to 63 lowercase letters, digits, _ and -, and begin with a letter or digit",
  };
}

/** The name of an environment variable that every shell can read. */
export function readVariable(text: string): Reading<string> {
  if (variablePattern.test(text)) return { value: text };
  return {
    wrong: `is not the name of an environment variable: ${JSON.stringify(text)}`,
    hint: "letters, digits and _, not beginning with a digit",
  };
}

/** Name or value of a label that an agent announces. */
export function readLabel(text: string): Reading<string> {
  if (labelPattern.test(text)) return { value: text };
  return {
    wrong: `is not a label: ${JSON.stringify(text)}`,
    hint: "labels are 1 to 63 letters, digits, . _ / and -, and begin with a letter or digit, for example os: linux",
  };
}

export const toolPattern = /^[a-z0-9][a-z0-9+._-]{0,62}$/;
export const toolVersionPattern = /^(any|[0-9]+(\.[0-9]+)*)$/;

/** The name of a program that agents announce, such as `node` or `g++`. */
export function readTool(text: string): Reading<string> {
  if (toolPattern.test(text)) return { value: text };
  return {
    wrong: `is not the name of a tool: ${JSON.stringify(text)}`,
    hint: "lowercase letters, digits, +, ., _ and -, and begin with a letter or digit, for example node",
  };
}

/** The version of a tool, or the beginning of one. */
export function readToolVersion(text: string): Reading<string> {
  if (toolVersionPattern.test(text)) return { value: text };
  return {
    wrong: `is not a version: ${JSON.stringify(text)}`,
    hint: 'write the beginning of one, such as "24" or "3.11", or any',
  };
}

/** Text that reaches a process: everything but NUL, which ends strings there, and no more than it can be given. */
export function readText(text: string): Reading<string> {
  if (text.includes("\0")) return { wrong: "contains a NUL character", hint: "leave it out: it ends a text" };
  if (Buffer.byteLength(text) <= limits.processTextBytes) return { value: text };
  const wrong = `has more than ${limits.processTextBytes} bytes, which no process can be given`;
  return { wrong, hint: "put it into a file of the source" };
}

/** A script. */
export function readScript(text: string): Reading<string> {
  return text.trim() === "" ? { wrong: "is empty", hint: "write the commands that this task runs" } : readText(text);
}

/** Where a probe asks, from the machine that the app runs on. */
export function readHttpUrl(text: string): Reading<string> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === "http:" && url.username === "" && url.password === "") return { value: url.href };
  return { wrong: `is not an http address: ${JSON.stringify(text)}`, hint: "for example http://127.0.0.1:8090/health" };
}

export function readBoolean(text: string): Reading<boolean> {
  if (text === "true" || text === "false") return { value: text === "true" };
  return { wrong: `must be true or false, not ${JSON.stringify(text)}` };
}

/** Far below what the wire could carry, so that arithmetic on priorities never overflows. */
const priorityMax = 1_000;

export function readPriority(text: string): Reading<number> {
  const value = Number(text);
  if (/^-?\d{1,9}$/.test(text) && Math.abs(value) <= priorityMax) return { value: value === 0 ? 0 : value };
  return { wrong: `must be a whole number from -${priorityMax} to ${priorityMax}, not ${JSON.stringify(text)}` };
}

export const approverPattern = /^[A-Za-z0-9][A-Za-z0-9._@/-]{0,62}$/;

/** Who may decide at a gate: the name of a token, or a role. */
export function readApprover(text: string): Reading<string> {
  if (approverPattern.test(text)) return { value: text };
  return {
    wrong: `is not the name of a token or a role: ${JSON.stringify(text)}`,
    hint: "1 to 63 letters, digits, . _ @ / and -, for example qa or admin",
  };
}

/** A line that people read before they decide. */
export function readGateText(text: string): Reading<string> {
  if (text.trim() === "") return { wrong: "is empty", hint: "say what is to be decided" };
  if (text.length > limits.gateTextChars) return { wrong: `has more than ${limits.gateTextChars} characters` };
  return readText(text);
}

/** What a gate comes to when nobody decides. */
export function readGateWord(text: string): Reading<"approve" | "reject"> {
  if (text === "approve" || text === "reject") return { value: text };
  return { wrong: `must be approve or reject, not ${JSON.stringify(text)}` };
}
