import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import ignore, { type Ignore } from "ignore";
import { from } from "../shared/errors.ts";

/**
 * Says which entries of a source tree stay behind, as git does: by the `.gitignore` files in the tree, in the folders
 * between it and the root of its repository, and always `.git` itself. A deeper file overrules a higher one.
 * The walk asks for a folder before it asks for what is in it, and not at all below one that stays behind.
 */
export function sourceFilter(dir: string): (path: string, isDirectory: boolean) => boolean {
  const root = resolve(dir);
  const top = repositoryRoot(root);
  const rulesIn = new Map<string, Ignore | undefined>();

  function rulesOf(folder: string): Ignore | undefined {
    if (!rulesIn.has(folder)) rulesIn.set(folder, readRules(join(folder, ".gitignore")));
    return rulesIn.get(folder);
  }

  return (path, isDirectory) => {
    const entry = join(root, path);
    if (entry.endsWith(`${sep}.git`)) return true;
    let ignored = false;
    for (const folder of foldersBetween(top, dirname(entry))) {
      const local = relative(folder, entry).split(sep).join("/");
      const verdict = rulesOf(folder)?.test(isDirectory ? `${local}/` : local);
      if (verdict?.ignored) ignored = true;
      else if (verdict?.unignored) ignored = false;
    }
    return ignored;
  };
}

/** The nearest folder upwards that holds `.git`; the tree's own root where there is none. */
function repositoryRoot(root: string): string {
  for (let folder = root; ; folder = dirname(folder)) {
    if (existsSync(join(folder, ".git"))) return folder;
    if (dirname(folder) === folder) return root;
  }
}

/** From `top` down to `bottom`, both included. */
function foldersBetween(top: string, bottom: string): string[] {
  const folders = [bottom];
  for (let folder = bottom; folder !== top; folder = dirname(folder)) folders.unshift(dirname(folder));
  return folders;
}

function readRules(file: string): Ignore | undefined {
  try {
    return ignore().add(readFileSync(file, "utf8"));
  } catch (error) {
    const failure = from(error, `reading ${file}`);
    if (failure.code === "not_found") return undefined;
    throw failure;
  }
}
