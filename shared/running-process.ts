import { readFileSync } from "node:fs";

/** A process that cannot be taken for another: pids are given out again, start times of one boot are not. */
export interface RunningProcess {
  readonly pid: number;
  /** In clock ticks since the machine started, with the boot it belongs to. It stays when another program is executed. */
  readonly startTime: string;
}

/** The process with this id, when it runs. One that has ended and waits for its parent to ask does not. */
export function processAt(pid: number): RunningProcess | undefined {
  return processIn(readOrEmpty(`/proc/${pid}/stat`), readOrEmpty("/proc/sys/kernel/random/boot_id"));
}

/** What the two files in /proc said of a process, at some time; undefined when they said nothing or that it had ended. */
export function processIn(stat: string, bootId: string): RunningProcess | undefined {
  // The second field is the program's name, which may hold anything, so counting starts behind it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state = "", startTime] = [fields[0], fields[19]];
  if (startTime === undefined || /^[ZX]$/.test(state)) return undefined;
  return { pid: Number.parseInt(stat, 10), startTime: `${bootId.trim()}:${startTime}` };
}

/** Whether just this process still runs. */
export function isAlive(process: RunningProcess): boolean {
  return processAt(process.pid)?.startTime === process.startTime;
}

/** Of a process that has ended there is nothing to read. */
function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
