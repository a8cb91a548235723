import { MillraceError } from "../errors.ts";
import { didYouMean, meant } from "./did-you-mean.ts";

/** Where a pipeline file is looked for when none is named. */
export const defaultPipelinePath = "millrace.yaml";

/** The same for one in TypeScript. */
export const defaultTypeScriptPath = "millrace.ts";

/** A folder of further pipelines of a source; `nightly` is the file `.millrace/nightly.yaml`, or `nightly.ts` there. */
export const pipelineFolder = ".millrace";

/** Where the file that a person means may be: one path, or for the default and a bare name, one in YAML and one in TypeScript. */
export function pipelinePathsOf(text: string): readonly [string, ...string[]] {
  if (text === "") return [defaultPipelinePath, defaultTypeScriptPath];
  if (!/^[a-z0-9][a-z0-9_-]*$/.test(text)) return [text];
  return [`${pipelineFolder}/${text}.yaml`, `${pipelineFolder}/${text}.ts`];
}

/**
 * The path of a pipeline file in its source, from a path or the bare name of a further pipeline; empty is the default. Where
 * there is no file, that of YAML.
 * @throws MillraceError invalid_argument where there are two by one name
 */
export function choosePipelinePath(text: string, isThere: (path: string) => boolean): string {
  const paths = pipelinePathsOf(text);
  const [path = paths[0], other] = paths.filter(isThere);
  if (other === undefined) return path;
  throw new MillraceError(
    "invalid_argument",
    `there are both ${path} and ${other}: remove one of them, or name the one that is meant by its path`,
  );
}

/** What to do where the pipeline file at a path is not there, by the paths of the files that are. */
export function absentPipelineHint(asked: string, files: readonly string[]): string {
  const known = files.filter((path) => isPipeline(path) && folderOf(path) === folderOf(asked));
  const usual = files.filter((path) => isPipeline(path) && isUsual(path));
  const candidates = [...new Set([...usual, ...known])];
  const names = candidates.map(nameOf);
  const close = didYouMean(nameOf(asked), names);
  if (close !== undefined) return meant(asked, candidates[names.indexOf(close)] ?? close);
  if (usual.length > 0) return `pipelines here: ${usual.slice(0, 12).join(", ")}`;
  return "write a starter with `millrace init`, or name the file";
}

function isPipeline(path: string): boolean {
  return /\.(?:ya?ml|ts)$/.test(path) && !path.endsWith(".d.ts");
}

/** Where pipelines are looked for without being named by their path. */
function isUsual(path: string): boolean {
  return path === defaultPipelinePath || path === defaultTypeScriptPath || folderOf(path) === pipelineFolder;
}

function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1).replace(/\.\w+$/, "");
}

/** Whether the file is TypeScript that gives the pipeline, and not the pipeline itself. */
export function isTypeScript(path: string): boolean {
  return path.endsWith(".ts");
}
