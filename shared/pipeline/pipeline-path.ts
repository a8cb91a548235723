/** Where a pipeline file is looked for when none is named. */
export const defaultPipelinePath = "millrace.yaml";
