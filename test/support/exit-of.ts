import type { ChildProcess } from "node:child_process";
import { once } from "node:events";

/** The exit status of a process, or the signal that ended it; the other one is null. */
export type Exit = readonly [status: number | null, signal: NodeJS.Signals | null];

/** How a process ended, also if it did so before anybody asked: its event comes once, and is not waited for again. */
export async function exitOf(child: ChildProcess): Promise<Exit> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return [child.exitCode, child.signalCode];
}
