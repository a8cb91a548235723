import { limits } from "../../shared/limits.ts";
import { nameProblem, quoted } from "../../shared/merkle/tree-path.ts";
import { Refused } from "../executor/executor.ts";

/** One name in a tree of git. */
export interface GitTreeEntry {
  readonly name: string;
  readonly kind: "tree" | "file" | "executable" | "symlink";
  /** Hexadecimal. */
  readonly oid: string;
}

const slash = 0x2f;

/**
 * Reads a tree object: entries of mode, space, name, zero byte, object id (gitformat: `tree`). What a source tree cannot
 * hold is refused with its path.
 * @param path of the tree, empty for the root
 * @param oidBytes 20 or 32
 */
export function parseGitTree(data: Buffer, path: string, oidBytes: number): GitTreeEntry[] {
  const entries: GitTreeEntry[] = [];
  const names = new Set<string>();
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at);
    const zero = data.indexOf(0, space + 1);
    const end = zero + 1 + oidBytes;
    if (space < 0 || zero < 0 || end > data.length) throw new Refused(`the tree at ${quoted(path)} is damaged`);
    const mode = Number.parseInt(data.toString("latin1", at, space), 8);
    const name = data.toString("utf8", space + 1, zero);
    const full = pathBelow(path, name);
    checkName(name, full, names);
    entries.push({ name, kind: kindOf(mode, full), oid: data.toString("hex", zero + 1, end) });
    at = end;
  }
  return entries;
}

/** `a` and `b` as `a/b`; the root is empty. */
export function pathBelow(path: string, name: string): string {
  return path === "" ? name : `${path}/${name}`;
}

function checkName(name: string, path: string, names: Set<string>): void {
  const problem = nameProblem(name);
  if (problem !== undefined) throw new Refused(`${quoted(path)}: the name ${quoted(name)} ${problem}`);
  if (name.toLowerCase() === ".git") {
    // A git that a task starts would take it for the repository, and run what it says.
    throw new Refused(`${quoted(path)}: no file or folder of a source may be called .git`);
  }
  if (names.has(name)) throw new Refused(`${quoted(path)} is there twice`);
  if (Buffer.byteLength(path) > limits.pathBytes) {
    throw new Refused(`path ${quoted(path)} is longer than ${limits.pathBytes} bytes`);
  }
  names.add(name);
}

function kindOf(mode: number, path: string): GitTreeEntry["kind"] {
  switch (mode & 0o170000) {
    case 0o040000:
      return "tree";
    case 0o100000:
      return (mode & 0o100) === 0 ? "file" : "executable";
    case 0o120000:
      return "symlink";
    case 0o160000:
      throw new Refused(
        `${quoted(path)} is a submodule, and submodules are not imported: add its files to the repository, or fetch them in a task`,
      );
    default:
      throw new Refused(
        `${quoted(path)} has the mode ${mode.toString(8)}, which is that of no file, folder or symlink`,
      );
  }
}

/**
 * How many levels above the folder at its path a symlink's target climbs: below 1, it stays in that folder. Undefined when
 * it is absolute or climbs behind a name, where it could not be counted.
 */
export function climbOf(target: string): number | undefined {
  if (target.charCodeAt(0) === slash) return undefined;
  let climbs = 0;
  let descended = false;
  for (const name of target.split("/")) {
    if (name === "..") {
      if (descended) return undefined;
      climbs += 1;
    } else if (name !== "" && name !== ".") descended = true;
  }
  return climbs;
}

/** Whether a file is no content but says where Git LFS keeps it (its specification, version 1). */
export function isLfsPointer(data: Uint8Array): boolean {
  if (data.byteLength > limits.lfsPointerBytes) return false;
  const text = new TextDecoder().decode(data);
  return /^version https:\/\/git-lfs\.github\.com\/spec\/v1\n(.*\n)*oid sha256:[0-9a-f]{64}\n/.test(text);
}
