import { limits } from "../limits.ts";
import type { Reading } from "./reading.ts";

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const hint = "write for example 90s, 10m or 1h30m";

/** Reads `90s`, `10m`, `1h30m`, `1.5h` as milliseconds. A bare number has no unit and is refused. */
export function readDuration(text: string): Reading<number> {
  if (!/^(\d{1,9}(\.\d{1,3})?(ms|s|m|h|d))+$/.test(text)) {
    return { wrong: `is not a duration: ${JSON.stringify(text)}`, hint };
  }
  let totalMs = 0;
  for (const [, amount, unit] of text.matchAll(/([\d.]+)(ms|s|m|h|d)/g)) {
    totalMs += Number(amount) * (unitMs[unit ?? ""] ?? 0);
  }
  return { value: Math.round(totalMs) };
}

/** A task's time-out: more than nothing, and at most `limits.taskTimeoutMaxMs`, beyond which it is refused, not clamped. */
export function readTimeout(text: string): Reading<number> {
  return readTimeoutUpTo(text, limits.taskTimeoutMaxMs);
}

/** A gate's time-out: more than nothing, and at most `limits.gateTimeoutMaxMs`. */
export function readGateTimeout(text: string): Reading<number> {
  return readTimeoutUpTo(text, limits.gateTimeoutMaxMs);
}

function readTimeoutUpTo(text: string, maxMs: number): Reading<number> {
  const reading = readDuration(text);
  if ("wrong" in reading) return reading;
  if (reading.value === 0) return { wrong: "must be longer than 0", hint };
  if (reading.value > maxMs) return { wrong: `is too long: ${text}`, hint: `the longest is ${formatDuration(maxMs)}` };
  return reading;
}

/** The shortest text that `readDuration` reads back as the same value. */
export function formatDuration(durationMs: number): string {
  let rest = durationMs;
  let text = "";
  for (const [unit, size] of Object.entries(unitMs).reverse()) {
    const amount = Math.floor(rest / size);
    if (amount > 0) text += `${amount}${unit}`;
    rest -= amount * size;
  }
  return text === "" ? "0s" : text;
}
