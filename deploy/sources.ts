import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";

/** Of the checkout. */
export const root = resolve(import.meta.dirname, "..");

/** What a program is built from, what builds it included. */
const sources = [
  "agent",
  "bin",
  "cli",
  "coordinator",
  "shared",
  "proto",
  "deploy",
  "package.json",
  "package-lock.json",
];

/** Of everything that a program is built from: one that was built before under the same digest is the same. */
export function digestOfSources(version: string): string {
  const digest = createHash("sha256");
  digest.update(`${process.version} ${statSync(process.execPath).size} ${version}\n`);
  for (const source of sources) {
    const path = join(root, source);
    const files = statSync(path).isFile() ? [""] : readdirSync(path, { recursive: true, encoding: "utf8" }).sort();
    for (const file of files.map((one) => join(path, one))) {
      if (!statSync(file).isFile()) continue;
      digest.update(`${file.slice(root.length)}\n`).update(createHash("sha256").update(readFileSync(file)).digest());
    }
  }
  return digest.digest("hex");
}
