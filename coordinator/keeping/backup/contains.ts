import { relative, resolve, sep } from "node:path";

/** Whether a path is a folder or lies within it, as they are written: links are not followed. */
export function contains(outer: string, inner: string): boolean {
  const way = relative(resolve(outer), resolve(inner));
  return way === "" || (way !== ".." && !way.startsWith(`..${sep}`));
}
