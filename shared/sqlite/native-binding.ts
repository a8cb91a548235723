import { hash, randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { from } from "../errors.ts";
import { asset, assetNames, isSingleFile } from "../single-file.ts";

/**
 * What `new Database` needs to find its native addon: nothing where a Node runs us, which finds it by itself. The one
 * executable carries it, but the system loads such code from files only, so it is written out beside the database.
 * @param folder private to us: whoever could write there could give us code to run
 * @throws MillraceError when it cannot be written
 */
export function nativeBinding(folder: string): { nativeBinding?: string } {
  if (!isSingleFile()) return {};
  return { nativeBinding: extractAddon(join(folder, "native"), asset(assetNames.sqliteAddon)) };
}

/**
 * Writes the addon under the name of its content, once, and gives the file. One that is there is compared first: a start
 * that was cut off, or anybody, may have left something else.
 */
export function extractAddon(folder: string, addon: Uint8Array): string {
  const name = `better_sqlite3-${hash("sha256", addon)}.node`;
  const file = join(folder, name);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (holds(file, addon)) return file;
    const part = `${file}.${randomUUID()}`; // threads and processes may do this at the same time
    writeFileSync(part, addon, { mode: 0o700 });
    renameSync(part, file);
    for (const other of readdirSync(folder)) {
      // Those of earlier versions; not a part that somebody else is writing.
      if (other !== name && other.endsWith(".node")) rmSync(join(folder, other), { force: true });
    }
    return file;
  } catch (error) {
    throw from(error, `writing SQLite's native addon to ${folder}`);
  }
}

function holds(file: string, addon: Uint8Array): boolean {
  try {
    return readFileSync(file).equals(addon);
  } catch {
    return false; // not there, or not readable: it is written anew
  }
}
