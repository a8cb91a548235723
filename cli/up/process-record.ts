import { readFileSync, rmSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { from } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { writePrivateFile } from "../../shared/private-file.ts";

/**
 * A process id written down, with what tells this process from every other that had or will have the number: the boot, and
 * the kernel's start time in clock ticks since then. Neither changes when the process executes another program.
 */
interface ProcessRecord {
  readonly pid: number;
  readonly startTicks: string;
  readonly bootId: string;
}

/** Writes the process down, so that a later start can find it should we be killed. Does nothing without /proc. */
export function recordProcess(file: string, pid: number): void {
  const record = inspect(pid);
  if (record !== undefined) writePrivateFile(file, JSON.stringify(record));
}

export function forgetProcess(file: string): void {
  rmSync(file, { force: true });
}

/** A process that was written down. */
export interface RecordedProcess {
  readonly pid: number;
  /** Whether it is still there, also when its record is not. */
  isRunning(): boolean;
}

/**
 * The recorded process if it still is the one that was written down.
 * @throws MillraceError when the record is there and cannot be read
 */
export function recordedProcess(file: string): RecordedProcess | undefined {
  const recorded = readRecord(file);
  if (recorded === undefined || !isSame(recorded)) return undefined;
  return { pid: recorded.pid, isRunning: () => isSame(recorded) };
}

/** Ends the recorded process if it still is the one that was written down, and waits until it is gone. */
export async function endLeftover(file: string): Promise<void> {
  const recorded = readRecord(file);
  if (recorded !== undefined) {
    const waitUntilMs = performance.now() + limits.killGraceMs;
    while (isSame(recorded) && performance.now() < waitUntilMs) {
      killGroup(recorded.pid);
      await delay(20);
    }
  }
  forgetProcess(file);
}

/** Children lead their own process group, so what they started goes with them. */
export function killGroup(pid: number): void {
  for (const target of [-pid, pid]) {
    try {
      process.kill(target, "SIGKILL");
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
    }
  }
}

function isSame(recorded: ProcessRecord): boolean {
  const now = inspect(recorded.pid);
  return now?.startTicks === recorded.startTicks && now.bootId === recorded.bootId;
}

function inspect(pid: number): ProcessRecord | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in parentheses may hold spaces and parentheses; after it the state is field 3, the start time field 22.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state] = fields;
    const startTicks = fields[19];
    if (startTicks === undefined || state === "Z") return undefined;
    return { pid, startTicks, bootId: readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim() };
  } catch {
    return undefined; // Gone, or a system without /proc.
  }
}

function readRecord(file: string): ProcessRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    // Never written, or cut off: then there is nothing that could be ended safely.
    if (error instanceof SyntaxError || from(error).code === "not_found") return undefined;
    throw from(error, `reading ${file}`);
  }
  if (typeof value !== "object" || value === null) return undefined;
  if (!("pid" in value && "startTicks" in value && "bootId" in value)) return undefined;
  const { pid, startTicks, bootId } = value;
  if (typeof pid !== "number" || pid <= 1 || typeof startTicks !== "string" || typeof bootId !== "string") {
    return undefined;
  }
  return { pid, startTicks, bootId };
}
