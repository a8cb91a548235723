/** Where a pipeline file is looked for when none is named. */
export const defaultPipelinePath = "millrace.yaml";

/** A folder of further pipelines of a source; `nightly` is the file `.millrace/nightly.yaml`. */
export const pipelineFolder = ".millrace";

/** The path of a pipeline file in its source, from a path or the bare name of a further pipeline; empty is the default. */
export function pipelinePathOf(text: string): string {
  if (text === "") return defaultPipelinePath;
  return /^[a-z0-9][a-z0-9_-]*$/.test(text) ? `${pipelineFolder}/${text}.yaml` : text;
}
