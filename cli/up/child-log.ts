import { closeSync, mkdirSync, openSync, renameSync, statSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { isDiskFull } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";

/** The file that keeps what a child says. */
export interface ChildLog {
  line(text: string): void;
  close(): void;
}

/** Appends to the file, and drops what a full disk does not take; when it is full it becomes `<file>.1` (the one before is dropped) and a new one begins. */
export function childLog(file: string): ChildLog {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  let descriptor = openSync(file, "a", 0o600);
  let sizeBytes = statSync(file).size;

  function rotate(): void {
    renameSync(file, `${file}.1`);
    const full = descriptor;
    descriptor = openSync(file, "a", 0o600);
    closeSync(full);
    sizeBytes = 0;
  }

  return {
    line(text) {
      try {
        if (sizeBytes >= limits.childLogBytes) rotate();
        sizeBytes += writeSync(descriptor, `${text}\n`);
      } catch (error) {
        // A supervisor that fell over a full disk would take all that it keeps running with it.
        if (!isDiskFull(error)) throw error;
      }
    },
    close: () => closeSync(descriptor),
  };
}

/** Pino's level of a warning. */
const warnLevel = 40;

/**
 * What of a child's line a person should see at once: a warning or worse of our own structured log, an error of
 * nats-server, or anything unstructured on standard error (a crash). Undefined for the rest, which is in the file.
 */
export function problemIn(line: string, stream: "stdout" | "stderr"): string | undefined {
  const structured = parseObject(line);
  if (structured !== undefined) {
    if (typeof structured.level !== "number" || structured.level < warnLevel) return undefined;
    const cause = structured.err;
    const message = typeof structured.msg === "string" ? structured.msg : line;
    const detail = isObject(cause) && typeof cause.message === "string" ? cause.message : "";
    return detail === "" || message.includes(detail) ? message : `${message}: ${detail}`;
  }
  if (stream === "stdout") return undefined;
  const nats = /^\[\d+\] \S+ \S+ \[(\w{3})\] (.*)$/.exec(line);
  if (nats !== null) return nats[1] === "ERR" || nats[1] === "FTL" ? nats[2] : undefined;
  return line.trim() === "" ? undefined : line;
}

function parseObject(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // Not JSON after all: plain text.
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
