import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { from, MillraceError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { absentPipelineHint, choosePipelinePath, pipelineFolder } from "../shared/pipeline/pipeline-path.ts";

/**
 * The path below `dir` of the pipeline file that a person means by a path or a name; empty is the default.
 * @throws MillraceError invalid_argument where there are two
 */
export function pipelineFileBelow(dir: string, given: string): string {
  const isFile = (path: string) => statSync(join(dir, path), { throwIfNoEntry: false })?.isFile() === true;
  return choosePipelinePath(given, isFile);
}

/**
 * The text of the pipeline file at `path` below `dir`.
 * @param asked what is said not to be there, as the person put it
 * @throws MillraceError not_found, saying how to get one, when there is no such file; invalid_argument when it is too large.
 */
export function readPipeline(dir: string, path: string, asked = join(dir, path)): string {
  const file = join(dir, path);
  try {
    const stat = statSync(file);
    const { size } = stat;
    if (stat.isDirectory()) {
      throw new MillraceError("invalid_argument", `${file} is a folder: name the pipeline file in it`);
    }
    if (size > limits.pipelineFileBytes) {
      throw new MillraceError(
        "invalid_argument",
        `${file} has ${size} bytes; at most ${limits.pipelineFileBytes} are read`,
      );
    }
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    if (from(error).code !== "not_found") throw from(error, `reading ${file}`);
    const hint = absentPipelineHint(path, filesAround(dir, path));
    throw new MillraceError("not_found", `there is no ${asked}: ${hint}`, { cause: error });
  }
}

/** Those in the folders in which the pipeline may be, by their paths below `dir`. */
function filesAround(dir: string, path: string): string[] {
  const folders = new Set([".", pipelineFolder, dirname(path)]);
  return [...folders].flatMap((folder) => {
    const there = statSync(join(dir, folder), { throwIfNoEntry: false })?.isDirectory() === true;
    return there ? readdirSync(join(dir, folder)).map((name) => join(folder, name)) : [];
  });
}
