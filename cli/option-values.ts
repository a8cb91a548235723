import { readFileSync } from "node:fs";
import { InvalidArgumentError } from "commander";
import { readDuration } from "../shared/pipeline/duration.ts";
import { unreadableFile } from "./named-file.ts";
import { parseSince } from "./since.ts";

// How values of options are read, each as commander wants it: it says which option was wrong.

export function wholeNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give a whole number.");
}

export function numberFromOne(text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give a number from 1.");
}

/** `name=value` of an option that may be repeated; the last value of a name counts. */
export function namedValues(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf("=");
  if (at <= 0) throw new InvalidArgumentError("Give it as name=value.");
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

/** The text of the named file; no name is no text. */
export function fileText(path: string): string {
  if (path === "") return "";
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new InvalidArgumentError(`It cannot be read: ${unreadableFile(error, path).message}.`);
  }
}

/** Of an option that may be repeated: all values, in order. */
export function repeated(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

/** An option whose empty text takes a setting away; it stays one, for commander makes one of null. */
export function orEmpty<T>(read: (text: string) => T): (text: string) => T | "" {
  return (text) => (text === "" ? "" : read(text));
}

/** In milliseconds; at least a second. */
export function duration(text: string): number {
  const reading = readDuration(text);
  if ("value" in reading && reading.value >= 1_000) return reading.value;
  throw new InvalidArgumentError("Give a time such as 90s, 10m, 12h or 30d.");
}

/** Wall time in milliseconds. */
export function since(text: string): number {
  const sinceMs = parseSince(text, Date.now());
  if (sinceMs !== undefined) return sinceMs;
  throw new InvalidArgumentError("Give how long ago (90s, 5m, 2h, 1d), or a time such as 2026-11-30T08:00:00Z.");
}
