import type { LogKey } from "./attempt-log.ts";

/** The name of an attempt's spool file. Each attempt has a log of its own. */
export function spoolName({ executionId, attempt }: LogKey): string {
  return `${executionId}.${attempt}`;
}

/** Which attempt a spool file is of; undefined when it is none. */
export function parseSpoolName(name: string): LogKey | undefined {
  const [, executionId, attempt] = /^(.+)\.([1-9]\d{0,6})$/.exec(name) ?? [];
  return executionId === undefined ? undefined : { executionId, attempt: Number(attempt) };
}
