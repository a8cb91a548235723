import { limits } from "../limits.ts";
import type { Reading } from "./reading.ts";

const encoder = new TextEncoder();

/**
 * Reads a path below the working directory in the form that trees use: `./dist/` is `dist`. One that leaves the working
 * directory, or names all of it, is refused.
 */
export function readRelativePath(text: string): Reading<string> {
  const quoted = JSON.stringify(text);
  const wrong = wrongPath(text);
  if (wrong !== undefined) return { wrong: `${wrong}: ${quoted}`, hint: "paths are relative to the top of the source" };
  const path = text
    .split("/")
    .filter((component) => component !== "" && component !== ".")
    .join("/");
  if (path === "")
    return { wrong: `names the whole working directory: ${quoted}`, hint: "name a file or folder in it" };
  if (path.includes("*")) return { wrong: `is not one file or folder: ${quoted}`, hint: "put the files in a folder" };
  return { value: path };
}

/** What makes this path, or glob, unfit to stay below the working directory. */
export function wrongPath(text: string): string | undefined {
  if (text === "") return "is empty";
  if (text.startsWith("/")) return "is an absolute path";
  if ([...text].some((character) => character < " " || character === "\x7f")) return "contains a control character";
  if (encoder.encode(text).byteLength > limits.pathBytes) return "is too long";
  for (const component of text.split("/")) {
    if (component === "..") return "leaves the working directory";
    if (encoder.encode(component).byteLength > limits.pathComponentBytes) return "has too long a component";
  }
  return undefined;
}

/** Whether one is the other or lies below it. */
export function pathsOverlap(a: string, b: string): boolean {
  return a === b || a.startsWith(`${b}/`) || b.startsWith(`${a}/`);
}
