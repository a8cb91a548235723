import { MillraceError } from "../errors.ts";

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

/** Whether the file is TypeScript that gives the pipeline, and not the pipeline itself. */
export function isTypeScript(path: string): boolean {
  return path.endsWith(".ts");
}
