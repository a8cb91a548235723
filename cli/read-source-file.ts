import { readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { from } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { ReadFile } from "../shared/pipeline/includes.ts";
import { defaultPipelinePath, defaultTypeScriptPath, pipelineFolder } from "../shared/pipeline/pipeline-path.ts";

/**
 * Reads files that a pipeline includes from the folder of its source, as the coordinator will read them from the tree:
 * files and no links, so nothing outside of it.
 */
export function readingFrom(dir: string): ReadFile {
  return (path) => {
    try {
      const file = realpathSync(join(dir, path));
      if (file !== join(realpathSync(dir), path)) return undefined;
      const stat = statSync(file);
      return stat.isFile() && stat.size <= limits.includedBytes ? readFileSync(file, "utf8") : undefined;
    } catch (error) {
      const failure = from(error, `reading ${path}`);
      if (failure.code === "not_found") return undefined;
      throw failure;
    }
  };
}

/** The top of the source that a pipeline file is probably part of: the nearest folder above it with a repository or pipelines. */
export function sourceFolderOf(file: string): string {
  const own = dirname(resolve(file));
  for (let dir = own; ; dir = dirname(dir)) {
    const marks = [".git", defaultPipelinePath, defaultTypeScriptPath, pipelineFolder];
    if (marks.some((name) => statSync(join(dir, name), { throwIfNoEntry: false }) !== undefined)) return dir;
    if (dirname(dir) === dir) return own;
  }
}
