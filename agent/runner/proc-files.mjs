// Reading what the kernel tells of processes, in /proc.

import { openSync, readFileSync, statSync } from "node:fs";

/** A file that may vanish while its process or group does. @param {string} path */
export function textOf(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** A number from a file of `name value` lines; 0 when it is not there. @param {string} path @param {string} name */
export function field(path, name) {
  const line = textOf(path)
    .split("\n")
    .find((one) => one.startsWith(`${name} `));
  return Number(line?.split(" ")[1] ?? 0);
}

/** A descriptor of a file that may be gone, or not be ours to see; undefined then. @param {string} path */
export function openQuietly(path) {
  try {
    return openSync(path, "r");
  } catch {
    return undefined;
  }
}

/** The inode that a path of /proc leads to; undefined when its process is gone or not ours to see. @param {string} path */
export function numberOf(path) {
  try {
    return statSync(path).ino;
  } catch {
    return undefined;
  }
}
