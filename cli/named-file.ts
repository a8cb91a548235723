import { constants, statSync } from "node:fs";
import { access } from "node:fs/promises";
import { from, MillraceError } from "../shared/errors.ts";

/** Why a file that a person named cannot be read, in words, with what to do; another failure stays what it is. */
export function unreadableFile(error: unknown, file: string): MillraceError {
  const failure = from(error, `reading ${file}`);
  const refuse = (code: "not_found" | "invalid_argument", message: string) =>
    new MillraceError(code, message, { cause: error });
  switch (failure.code) {
    case "not_found":
      return refuse("not_found", `there is no file ${file}: name one that is there`);
    case "permission_denied":
      return refuse("invalid_argument", `${file} cannot be read by this user: change its mode, or name another file`);
    case "invalid_argument": // what the system says of a folder, and of a file where a folder should be
      return refuse("invalid_argument", `${file} is no file: name one`);
    default:
      return failure;
  }
}

/** @throws MillraceError not_found or invalid_argument when what a person named is no folder */
export function requireFolder(dir: string): void {
  const stat = statSync(dir, { throwIfNoEntry: false });
  if (stat === undefined) throw new MillraceError("not_found", `there is no folder ${dir}: name one that is there`);
  if (!stat.isDirectory())
    throw new MillraceError("invalid_argument", `${dir} is a file: name the folder that it is in`);
}

/** Looked at before anything is begun for it. @throws MillraceError saying why the file cannot be read */
export async function requireReadable(file: string): Promise<void> {
  try {
    await access(file, constants.R_OK);
  } catch (error) {
    throw unreadableFile(error, file);
  }
}
