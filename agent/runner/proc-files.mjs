// Reading what the kernel tells of processes, in /proc.

import { readFileSync, readlinkSync } from "node:fs";

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

/** Where a link of /proc leads; undefined when its process is gone. @param {string} path */
export function linkOf(path) {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
