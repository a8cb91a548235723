import { fileURLToPath } from "node:url";

/**
 * Where a part of the program begins that a process or a thread of its own runs, in a checkout and in the package, which
 * deploy/build-package.ts makes. Both hold this table, by paths below their root.
 */
export const ownEntries = {
  main: { source: "bin/main.ts", packaged: "lib/main.js" },
  sqliteWorker: { source: "shared/sqlite/worker.ts", packaged: "lib/sqlite-worker.js" },
  runner: { source: "agent/runner/runner-process.mjs", packaged: "lib/runner-process.js" },
} as const;

/** The file of such a part. Not for the single executable, which has no files: shared/single-file.ts. */
export function ownEntry(name: keyof typeof ownEntries): string {
  // Node strips no types where packages are installed, so the package is JavaScript.
  const isSource = import.meta.url.endsWith(".ts");
  return ownFile(ownEntries[name][isSource ? "source" : "packaged"]);
}

/** A file of the checkout or the package that we are in, by its path below the root. */
export function ownFile(path: string): string {
  // This file is one folder below the root, and so is all of the package's code.
  return fileURLToPath(new URL(`../${path}`, import.meta.url));
}
