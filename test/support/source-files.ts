import { readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ignore from "ignore";

/** A text file of the repository. */
export interface SourceFile {
  /** From the repository's root, with `/` between components. */
  readonly path: string;
  readonly text: string;
}

/** The repository's root folder. */
export const repositoryRoot = fileURLToPath(new URL("../..", import.meta.url));

/**
 * All text files that belong to the repository: what `.gitignore` names is left out. It reads the folder and not git's
 * index, because the same tests run in a task of our own pipeline, where there is no `.git`.
 */
export function sourceFiles(root = repositoryRoot): SourceFile[] {
  const ignored = ignore()
    .add(".git")
    .add(readFileSync(join(root, ".gitignore"), "utf8"));
  const files: SourceFile[] = [];
  const visit = (folder: string): void => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = `${folder}${entry.name}`;
      if (ignored.ignores(entry.isDirectory() ? `${path}/` : path)) continue;
      if (entry.isDirectory()) visit(`${path}/`);
      else if (entry.isFile() && !binaryExtensions.has(extname(path))) {
        files.push({ path, text: readFileSync(join(root, path), "utf8") });
      }
    }
  };
  visit("");
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

const binaryExtensions: ReadonlySet<string> = new Set([".binpb", ".png", ".gz", ".tar", ".tgz", ".ico"]);

/** Whether the file is TypeScript or JavaScript. */
export function isScript(file: Pick<SourceFile, "path">): boolean {
  return /\.(ts|mts|mjs|js)$/.test(file.path);
}

/** Whether a tool wrote the file: then its form is the tool's business. */
export function isGenerated(file: Pick<SourceFile, "path">): boolean {
  return file.path.startsWith("proto/gen/") || file.path === "package-lock.json";
}

/** The line, from 1, that holds the character at `offset`. */
export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at !== -1 && at < offset; at = text.indexOf("\n", at + 1)) line += 1;
  return line;
}

/** Something wrong in a file. */
export interface Finding {
  readonly path: string;
  /** From 1. */
  readonly line: number;
  /** What is wrong and what to do about it. */
  readonly message: string;
}

/** `file:line: message`, as editors and people expect it. */
export function findingText(finding: Finding): string {
  return `${finding.path}:${finding.line}: ${finding.message}`;
}
