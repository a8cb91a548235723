import { MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";

/**
 * Orders strings as their UTF-8 bytes are ordered, which is REAPI's order of names. JavaScript's `<` compares UTF-16
 * units and puts everything above U+FFFF before U+E000.
 */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index++) {
    const x = a.charCodeAt(index);
    const y = b.charCodeAt(index);
    if (x !== y) return utf8Rank(x) - utf8Rank(y);
  }
  return a.length - b.length;
}

/** Moves the surrogates (half of a code point above U+FFFF) behind the rest of the 16-bit units. */
function utf8Rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

/** Orders entries by path, as `compareUtf8`. */
export function byPath(a: { readonly path: string }, b: { readonly path: string }): number {
  return compareUtf8(a.path, b.path);
}

/**
 * Whether a text that was read from a file system or an archive is what stood there. Both readers put U+FFFD where bytes
 * are not UTF-8, so that two names could have become one: a name that really has this character is refused with them.
 */
export function isUtf8(text: string): boolean {
  return text.isWellFormed() && !text.includes("\uFFFD");
}

/** What is wrong with a name inside a directory, or undefined when nothing is. */
export function nameProblem(name: string): string | undefined {
  if (name === "") return "is empty";
  if (name === "." || name === "..") return "would lead elsewhere";
  if (name.includes("/")) return 'contains "/"';
  if (name.includes("\0")) return "contains a zero byte";
  if (!isUtf8(name)) return "is not valid UTF-8";
  if (Buffer.byteLength(name) > limits.pathComponentBytes) {
    return `is longer than the ${limits.pathComponentBytes} bytes that file systems allow`;
  }
  return undefined;
}

/**
 * The components of an entry's path.
 * @throws MillraceError invalid_argument when it could not be laid out inside a directory on any Linux file system.
 */
export function splitPath(path: string): string[] {
  if (path.startsWith("/")) throw new MillraceError("invalid_argument", `path ${quoted(path)} is absolute`);
  const names = path.split("/");
  for (const name of names) {
    const problem = nameProblem(name);
    if (problem !== undefined) {
      throw new MillraceError("invalid_argument", `path ${quoted(path)}: the component ${quoted(name)} ${problem}`);
    }
  }
  if (names.length > limits.treeDepth) {
    throw new MillraceError(
      "invalid_argument",
      `path ${quoted(path)} has ${names.length} levels; ${limits.treeDepth} is the most`,
    );
  }
  if (Buffer.byteLength(path) > limits.pathBytes) {
    throw new MillraceError("invalid_argument", `path ${quoted(path)} is longer than ${limits.pathBytes} bytes`);
  }
  return names;
}

/**
 * What is wrong with a symlink that must stay inside its tree, or undefined. `..` may stand only at the beginning of the
 * target: there it climbs real directories and can be counted, behind a name it would climb out of whatever that name
 * links to.
 */
export function symlinkProblem(path: string, target: string): string | undefined {
  const shape = targetProblem(target);
  if (shape !== undefined) return shape;
  if (target.startsWith("/")) return "is absolute; make it relative";
  let levels = path.split("/").length - 1;
  let descended = false;
  for (const name of target.split("/")) {
    if (name === "..") {
      if (descended) return 'has ".." behind a name; write it with ".." only at its beginning';
      if (--levels < 0) return "leads out of the tree";
    } else if (name !== "" && name !== ".") descended = true;
  }
  return undefined;
}

/** What is wrong with the text of a symlink's target, wherever it leads. */
export function targetProblem(target: string): string | undefined {
  if (target === "") return "is empty";
  if (target.includes("\0")) return "contains a zero byte";
  if (!isUtf8(target)) return "is not valid UTF-8";
  if (Buffer.byteLength(target) > limits.pathBytes) return `is longer than ${limits.pathBytes} bytes`;
  return undefined;
}

/** For messages: hostile names are cut and their control characters made visible. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}
