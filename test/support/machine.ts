import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

// What this machine allows. Tests that need what it does not allow are skipped, which vitest says.

function works(file: string, args: readonly string[]): boolean {
  return spawnSync(file, args).status === 0;
}

/** Whether bubblewrap is here and may make namespaces. */
export const bubblewrapWorks = works(
  "bwrap",
  "--unshare-pid --die-with-parent --ro-bind / / --dev /dev --proc /proc true".split(" "),
);

/** Whether somebody without privileges may mount: hardened systems and containers forbid it. */
export const userNamespacesWork = works("unshare", ["--user", "--map-root-user", "--mount", "true"]);

/** Those of these programs that are not on the PATH. */
export function missingTools(names: readonly string[]): string[] {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return names.filter((name) => !folders.some((folder) => existsSync(join(folder, name))));
}
