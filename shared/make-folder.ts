import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { from, isDiskFull, MillraceError } from "./errors.ts";

/**
 * Makes a folder, of this user's own by default, and those above it, one at a time: in a place where nothing can be made, such as
 * below /proc, Node's recursive mkdir tries for ever (seen with Node 24.21).
 * @param mode of those that are made, before the umask
 * @throws MillraceError invalid_argument, naming the folder, when it cannot be made there
 */
export function makeFolder(folder: string, mode = 0o700): void {
  const missing: string[] = [];
  let path = resolve(folder);
  for (; !existsSync(path); path = dirname(path)) missing.push(path);
  if (!statSync(path).isDirectory()) {
    throw new MillraceError("invalid_argument", `${path} is a file: name a folder`);
  }
  for (const each of missing.reverse()) {
    try {
      mkdirSync(each, { mode });
    } catch (error) {
      const failure = from(error, `making the folder ${each}`);
      if (failure.code === "already_exists") continue; // somebody else just did
      if (isDiskFull(error)) throw failure;
      const message = `${folder} cannot be made: ${failure.message}; name another folder`;
      throw new MillraceError("invalid_argument", message, { cause: error });
    }
  }
}
