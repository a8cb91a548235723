/** What a run is about, as far as expressions and conditions ask. What is not known is empty. */
export interface PlanContext {
  /** The branch that the source is on; empty for a tag, a bare commit, and a source that is no repository. */
  readonly branch: string;
  readonly tag: string;
  /** 40 or 64 hex digits. */
  readonly commit: string;
  /** Paths that differ from the commit that the last run of the same pipeline and branch was about; undefined when nobody knows, and then everything counts as changed. */
  readonly changedPaths: readonly string[] | undefined;
  readonly project: string;
  /** What asked for the run: `manual` for a person or a program. */
  readonly trigger: string;
  /** Values of parameters as somebody gave them, by name. */
  readonly params: Readonly<Record<string, string>>;
  /** Nothing will run: a parameter that nobody gave a value has an example of one. */
  readonly isSample: boolean;
}

/** Nobody asked for a run: the file is looked at for its own sake. */
export const noRun: PlanContext = {
  branch: "",
  tag: "",
  commit: "",
  changedPaths: undefined,
  project: "default",
  trigger: "manual",
  params: {},
  isSample: true,
};
