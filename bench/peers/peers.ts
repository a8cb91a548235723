import { spawnSync } from "node:child_process";
import { accessSync, constants, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import type { Figure } from "../bench.ts";

/** The scripts that install peers, beside this file. */
const installers = ["npm.sh", "buildbot.sh"];

/** Where peers are: MILLRACE_BENCH_PEERS, else in the user's cache. Nothing of ours depends on them. */
export function peersFolder(): string {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  return process.env.MILLRACE_BENCH_PEERS || join(cache, "millrace-bench-peers");
}

/** Installs what is not there. One that cannot be had is said, and later named as not installed. */
export function installPeers(): void {
  const folder = peersFolder();
  mkdirSync(folder, { recursive: true });
  for (const installer of installers) {
    const { status } = spawnSync("sh", [join(import.meta.dirname, installer), folder], { stdio: ["ignore", 2, 2] });
    if (status !== 0) process.stderr.write(`${installer} ended with ${status}: its peers are left out\n`);
  }
}

/** The program in the folder of peers, or on the PATH; undefined when it is in neither. */
export function peerProgram(name: string, inFolder = ""): string | undefined {
  const folders = [join(peersFolder(), inFolder), ...(process.env.PATH ?? "").split(delimiter)];
  return folders.map((folder) => join(folder, name)).find(isProgram);
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false; // Not there, or not ours to run.
  }
}

/**
 * What a peer measures, or a line that says that it broke: that is said loudly, but takes nothing from our own figures.
 */
export async function orBroken(name: string, measure: () => Promise<Figure[]>): Promise<Figure[]> {
  try {
    return await measure();
  } catch (error) {
    process.stderr.write(`${name} BROKE: ${error instanceof Error ? error.message : String(error)}\n`);
    return [{ name, unit: "", samples: [], target: "", note: "broke in this run" }];
  }
}

/** The line of a peer that is not there: never left out without a word. */
export function notInstalled(name: string, unit: string): Figure {
  return { name, unit, samples: [], target: "", note: "not installed; --peers installs it where it can be had" };
}
