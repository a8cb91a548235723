import { dirname } from "node:path";
import { isSingleFile } from "../../shared/single-file.ts";

/** The last is where the installer of Go puts it, beside all that is usual. */
const usual = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/go/bin"];

/** Where tasks find programs unless their Command says: folders of tools that were named, the usual ones, our own Node. */
export function taskPath(toolFiles: readonly string[]): string {
  const own = isSingleFile() ? [] : [dirname(process.execPath)];
  return [...new Set([...toolFiles.map((file) => dirname(file)), ...usual, ...own])].join(":");
}
