import { type Dirent, readdirSync } from "node:fs";
import { join } from "node:path";
import { from } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { sourceFilter } from "./source-filter.ts";

/**
 * Paths of the files of a project, relative to its top: those that `millrace run` would send, and no more than
 * `limits.starterFiles`, which tell as much about it as all would.
 * @throws MillraceError when the folder cannot be read; a folder below it that cannot is left out.
 */
export function projectFiles(dir: string): string[] {
  const leaves = sourceFilter(dir);
  const files: string[] = [];
  const folders = [""];
  for (const folder of folders) {
    if (files.length >= limits.starterFiles) break;
    for (const entry of entriesOf(dir, folder)) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (leaves(path, entry.isDirectory())) continue;
      if (entry.isDirectory()) folders.push(path);
      else files.push(path);
    }
  }
  return files.slice(0, limits.starterFiles);
}

function entriesOf(dir: string, folder: string): Dirent[] {
  try {
    return readdirSync(join(dir, folder), { withFileTypes: true });
  } catch (error) {
    if (folder === "") throw from(error, `looking for a project in ${dir}`);
    return []; // no right to look into it: the run will say so
  }
}
