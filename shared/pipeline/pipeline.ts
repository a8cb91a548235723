/** A place in a pipeline file. Both count from 1; the column counts UTF-16 units, as editors do. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** A pipeline file that has been parsed and found right: every name resolved, every default applied. */
export interface Pipeline {
  readonly name: string;
  /** The path that was given to the parser; problems found later name it. */
  readonly file: string;
  /** In file order. */
  readonly stages: readonly Stage[];
}

export interface Stage {
  /** `[a-z0-9][a-z0-9_-]{0,62}`, unique in the pipeline. */
  readonly name: string;
  /** Stages that must succeed first. */
  readonly needs: readonly string[];
  /** In file order, at least one. */
  readonly tasks: readonly Task[];
}

export interface Task {
  readonly stage: string;
  /** Like a stage's name; unique in its stage. */
  readonly name: string;
  /** Of its name in the file. */
  readonly position: Position;
  /** `stage/task` of tasks of the same stage that must succeed first, beyond those that its `use` implies. */
  readonly needs: readonly string[];
  /** Script for `/bin/sh -e`. */
  readonly run: string;
  /** Globs over the source tree; a `!` in front excludes. Undefined is the whole source, empty is nothing of it. */
  readonly inputs: readonly InputGlob[] | undefined;
  readonly outputs: readonly { readonly artifact: string; readonly path: string }[];
  /** `task` is the one that makes the artifact, as `stage/task`; `path` is where it lands. */
  readonly use: readonly { readonly artifact: string; readonly task: string; readonly path: string }[];
  /** Keyed environment, sorted by name. */
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** Labels an agent must have, sorted by name. */
  readonly agents: Readonly<Record<string, string>>;
  /** Tools that it runs with, sorted by name; see resolve-tools.ts. */
  readonly tools: readonly WantedTool[];
  /** Folders that stay on an agent between its tasks, sorted by name. */
  readonly caches: readonly WantedCache[];
  readonly cache: boolean;
  /** False: what it does must not happen twice, so the farm never starts it a second time by itself. Then `cache` is false. */
  readonly idempotent: boolean;
  /** Greater goes first. */
  readonly priority: number;
  /** Of the one task of a manual stage: nothing is executed, a person decides. What a process would need is then empty. */
  readonly gate?: Gate;
  /** Set for the one task of a stage that deploys: `run` is what the unit runs, the one `use` is the release. */
  readonly deployment?: Deployment;
}

/** What a manual stage asks of people. */
export interface Gate {
  readonly title: string;
  /** What to look at before deciding, in file order. */
  readonly checklist: readonly string[];
  /** Names of tokens, and roles; empty is everybody who may submit runs. */
  readonly approvers: readonly string[];
  /** From when the gate opens. */
  readonly timeoutMs: number;
  /** What it comes to when nobody decides in time. */
  readonly onTimeout: "approve" | "reject";
}

/** Where a release goes, and how it is known to serve. */
export interface Deployment {
  readonly environment: string;
  /** The name of the artifact. */
  readonly app: string;
  readonly probeUrl: string;
  readonly probeTimeoutMs: number;
}

/** A tool that a task asks for. */
export interface WantedTool {
  readonly name: string;
  /** The beginning of a version, in whole numbers, or `any`. */
  readonly version: string;
  /** Of its entry; of the task's name when it comes from the defaults. */
  readonly position: Position;
}

/** A folder that an agent keeps for the tasks that follow. */
export interface WantedCache {
  readonly name: string;
  /** Relative to the working directory. */
  readonly path: string;
  /** Of its entry; of the task's name when it comes from the defaults. */
  readonly position: Position;
}

export interface InputGlob {
  /** As written; see glob.ts for the syntax. */
  readonly pattern: string;
  readonly position: Position;
}

/** Something wrong in a pipeline file, or in what was asked of it. */
export interface Problem extends Position {
  readonly file: string;
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
}
