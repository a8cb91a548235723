import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import ignore, { type Ignore } from "ignore";
import { from } from "../shared/errors.ts";

/** The rules of one folder, and how to name an entry as that folder sees it: `prefix` before the path from `cut` on. */
interface ScopedRules {
  readonly rules: Ignore;
  readonly prefix: string;
  readonly cut: number;
}

/**
 * Says which entries of a source tree stay behind, as git does: by the `.gitignore` files in the tree, in the folders
 * between it and the root of its repository, and always `.git` itself. A deeper file overrules a higher one.
 * The walk asks for a folder before it asks for what is in it, and not at all below one that stays behind.
 */
export function sourceFilter(dir: string): (path: string, isDirectory: boolean) => boolean {
  const root = resolve(dir);
  const above = rulesAbove(root);
  /** By folder of the source: found once, for a walk asks for many entries of few folders. */
  const rulesIn = new Map<string, readonly ScopedRules[]>();

  function rulesOf(folder: string): readonly ScopedRules[] {
    const known = rulesIn.get(folder);
    if (known !== undefined) return known;
    const inherited = folder === "" ? above : rulesOf(parentOf(folder));
    const rules = readRules(join(root, folder, ".gitignore"));
    const cut = folder === "" ? 0 : folder.length + 1;
    const all = rules === undefined ? inherited : [...inherited, { rules, prefix: "", cut }];
    rulesIn.set(folder, all);
    return all;
  }

  return (path, isDirectory) => {
    if (path === ".git" || path.endsWith("/.git")) return true;
    let ignored = false;
    for (const { rules, prefix, cut } of rulesOf(parentOf(path))) {
      const local = prefix + path.slice(cut);
      const verdict = rules.test(isDirectory ? `${local}/` : local);
      if (verdict.ignored) ignored = true;
      else if (verdict.unignored) ignored = false;
    }
    return ignored;
  };
}

/** The empty path for what lies directly in the source. */
function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/** Of the folders between the repository's root and the source, that of the source not included. */
function rulesAbove(root: string): ScopedRules[] {
  const found: ScopedRules[] = [];
  for (const folder of foldersBetween(repositoryRoot(root), root).slice(0, -1)) {
    const rules = readRules(join(folder, ".gitignore"));
    const prefix = `${relative(folder, root).split(sep).join("/")}/`;
    if (rules !== undefined) found.push({ rules, prefix, cut: 0 });
  }
  return found;
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
  if (!existsSync(file)) return undefined; // most folders have none, and an exception costs more than a look
  try {
    return ignore().add(readFileSync(file, "utf8"));
  } catch (error) {
    throw from(error, `reading ${file}`);
  }
}
