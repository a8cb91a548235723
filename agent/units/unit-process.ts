import { readdirSync, readFileSync } from "node:fs";
import type { Clock } from "../../shared/clock.ts";
import { MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { isAlive, processAt, type RunningProcess } from "../../shared/running-process.ts";
import { delay } from "../retry.ts";

/** The variable by which a unit's processes are known to an agent that did not start them. */
export const unitVariable = "MILLRACE_UNIT";

/** All processes that were started with this token, the oldest first. */
export function processesWith(token: string): RunningProcess[] {
  const mark = `${unitVariable}=${token}`;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => readOrEmpty(`/proc/${name}/environ`).split("\0").includes(mark))
    .flatMap((name) => processAt(Number(name)) ?? [])
    .sort((a, b) => Number(a.startTime.split(":")[1]) - Number(b.startTime.split(":")[1]));
}

/**
 * Ends all processes of a unit: SIGTERM, and SIGKILL when the grace is over. Found by token and by process group, so only
 * one that has left its group and cleared its environment escapes.
 * @throws MillraceError internal when one outlives SIGKILL, as those do that wait for a broken disk
 */
export async function endProcesses(token: string, leader: RunningProcess | undefined, clock: Clock): Promise<void> {
  const left = () => {
    const marked = processesWith(token);
    if (leader === undefined || marked.some(({ pid }) => pid === leader.pid)) return marked;
    return isAlive(leader) ? [leader, ...marked] : marked;
  };
  const never = new AbortController().signal;
  for (const [signal, graceMs] of [
    ["SIGTERM", limits.unitStopMs],
    ["SIGKILL", limits.killGraceMs],
  ] as const) {
    if (leader !== undefined && isAlive(leader)) send(-leader.pid, signal);
    for (const { pid } of left()) send(pid, signal);
    const deadlineMs = clock.monotonicMs() + graceMs;
    while (left().length > 0 && clock.monotonicMs() < deadlineMs) await delay(clock, pollMs, never);
    if (left().length === 0) return;
  }
  const pids = left().map(({ pid }) => pid);
  throw new MillraceError("internal", `processes ${pids.join(", ")} outlive SIGKILL: look what they wait for`);
}

const pollMs = 25;

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It ended by itself in the meantime.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** Of a process that has ended, or of another user, there is nothing to read. */
function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
