import { homedir } from "node:os";
import { join } from "node:path";

/** Where a farm of this user keeps everything that must last, when nothing else is said: MILLRACE_DATA, else by the XDG base directory specification. */
export function defaultDataFolder(env: Readonly<Record<string, string | undefined>>): string {
  return env.MILLRACE_DATA || join(homedir(), ".local", "share", "millrace");
}
