import { execFileSync } from "node:child_process";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");

/** For a hook that builds: a minute's work on a machine that has much else to do. */
export const buildMs = 240_000;

/**
 * The product as one executable of that version, in a folder as `npm run package` leaves it. What was built from the same
 * source before, by any test, is taken again.
 */
export function singleFile(folder: string, version: string): string {
  const out = join(folder, `millrace-${version}-${process.platform}-${process.arch}`);
  const build = join(root, "deploy/build-single-file.ts");
  execFileSync(process.execPath, [build, "--out", out, "--version", version], { stdio: "pipe" });
  return out;
}
