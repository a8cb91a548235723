// Control groups as files: version 1 and version 2 alike.

import { readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { textOf } from "./proc-files.mjs";

/** Moves this process: to see whether it can. @param {string} folder */
export function enter(folder) {
  writeFileSync(join(folder, "cgroup.procs"), "0");
}

/** Moves a process that has started nothing yet. A thread waits for the kernel, we do not. @param {string} folder @param {number} pid */
export async function move(folder, pid) {
  await writeFile(join(folder, "cgroup.procs"), String(pid));
}

/** Where a cgroup file system is mounted. @param {(type: string, options: string[]) => boolean} wanted */
export function cgroupMount(wanted) {
  for (const line of textOf("/proc/self/mountinfo").split("\n")) {
    const [mount, source] = line.split(" - ");
    const [type, , options] = (source ?? "").split(" ");
    const path = mount?.split(" ")[4];
    if (type !== undefined && path !== undefined && wanted(type, (options ?? "").split(","))) return path;
  }
  return undefined;
}

/** The path of this process's own group. @param {(line: string) => boolean} wanted */
export function ownCgroup(wanted) {
  return textOf("/proc/self/cgroup").split("\n").find(wanted)?.split(":").slice(2).join(":");
}

/** @param {string} folder @returns {number[]} */
export function processesOf(folder) {
  return textOf(join(folder, "cgroup.procs")).split("\n").filter(Boolean).map(Number);
}

/** @param {string} folder @returns {string[]} */
export function subfolders(folder) {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch {
    return [];
  }
}

/** A group that still holds a dying process stays for the next sweep. @param {string} folder */
export function removeGroup(folder) {
  try {
    for (const group of subfolders(folder)) removeGroup(join(folder, group));
    rmdirSync(folder);
  } catch (error) {
    console.error(`millrace runner: leaving ${folder}: ${error}`);
  }
}
