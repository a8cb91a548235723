/** A place in a pipeline file. Both count from 1; the column counts UTF-16 units, as editors do. */
export interface Position {
  readonly line: number;
  readonly column: number;
  /** Where that is another file than the pipeline's own: one that it includes. */
  readonly file?: string;
  /**
   * In what an evaluation gave, the keys that lead there, such as `stages.build.tasks.compile.run`. Nobody knows then which line of
   * the file made it, and line and column are 1.
   */
  readonly path?: string;
}

/** A pipeline file that has been parsed and found right: every name resolved, every default applied. */
export interface Pipeline {
  readonly name: string;
  /** The path that was given to the parser; problems found later name it. */
  readonly file: string;
  /** Of the run as a whole. */
  readonly concurrency?: Concurrency;
  /** Values of its parameters as planned, by name. */
  readonly params: Readonly<Record<string, string>>;
  /** What starts runs by itself. */
  readonly triggers: Triggers;
  /** In file order. */
  readonly stages: readonly Stage[];
}

/** What starts runs by itself; what is absent does not. Nothing acts on it yet. */
export interface Triggers {
  readonly push?: RefTrigger | undefined;
  readonly pull_request?: RefTrigger | undefined;
  /** Five fields of cron each. */
  readonly schedule?: readonly string[] | undefined;
  /** Names of pipelines. */
  readonly upstream?: readonly string[] | undefined;
}

/** Patterns; absent means any. */
export interface RefTrigger {
  readonly branches?: readonly string[] | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly paths?: readonly string[] | undefined;
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
  /** Tries after failures of its own. */
  readonly retry?: Retry;
  /** Its failure fails neither the run nor what needs it. */
  readonly allowFailure: boolean;
  readonly concurrency?: Concurrency;
  /** Sorted by variable. */
  readonly secrets: readonly WantedSecret[];
  /** The output that holds the tasks which it adds to its stage; it is told the path by `MILLRACE_GENERATE`. */
  readonly generates?: string;
  /** It begins when all that it needs has ended, however. */
  readonly always: boolean;
  /** Its own and those of its stage as they stand in the file, for a person. */
  readonly conditions: readonly string[];
  /** What is asked when that has ended; see run-condition.ts. */
  readonly when?: string;
  /** Why it does not run, in words. */
  readonly conditionUnmet?: string;
  /** `stage/task` of the file, where it is one of several variants. */
  readonly madeFrom?: string;
  /** What tells it from the other variants, sorted by name. */
  readonly variant: Readonly<Record<string, string>>;
  /** In file order. */
  readonly services: readonly Service[];
  /** Set for the one task of a stage that deploys: `run` is what the unit runs, the one `use` is the release. */
  readonly deployment?: Deployment;
}

/** A program that runs beside the script of a task and ends with it. */
export interface Service {
  readonly name: string;
  /** Script for `/bin/sh -e`. */
  readonly run: string;
  /** At most one of them; none means that it is ready when it was started. */
  readonly ready: {
    readonly tcp?: string | undefined;
    readonly http?: string | undefined;
    readonly exec?: string | undefined;
  };
  /** For it to be ready. */
  readonly timeoutMs: number;
  /** Sorted by name. */
  readonly env: Readonly<Record<string, string>>;
}

/** What a manual stage asks of people. */
export interface Gate {
  readonly title: string;
  /** What to look at before deciding, in file order. */
  readonly checklist: readonly string[];
  /** Users, tokens that are nobody's, and roles; empty is every developer, approver and admin. */
  readonly approvers: readonly string[];
  /** How many different people must approve. */
  readonly approvals: number;
  /** Who asked for the run may be one of them. */
  readonly authorMayApprove: boolean;
  /** What an approver fills in, in file order. */
  readonly fields: readonly GateField[];
  /** Somebody must have added evidence before it is approved. */
  readonly evidenceRequired: boolean;
  /** From when the gate opens. */
  readonly timeoutMs: number;
  /** What it comes to when nobody decides in time. */
  readonly onTimeout: "approve" | "reject";
}

/** A line of a gate's form. */
export interface GateField {
  readonly name: string;
  readonly title: string;
  readonly type: "text" | "number" | "boolean" | "choice";
  /** Of a choice; otherwise empty. */
  readonly options: readonly string[];
  readonly required: boolean;
}

/** When a task that failed by itself is tried again. */
export interface Retry {
  /** New tries; 0 to `limits.taskRetriesMax`. */
  readonly times: number;
  /** Endings after which it is; empty is any failure of its own. */
  readonly on: readonly RetryCause[];
  /** Before the first new try, doubled for each one after it. */
  readonly delayMs: number;
  /** Placements after the loss of an agent or a failure of the farm; undefined is the farm's own budget. */
  readonly infrastructure: number | undefined;
}

/** An ending that a retry policy names. */
export type RetryCause =
  | { readonly exitCode: number }
  | { readonly signal: string }
  | { readonly ending: "any" | "timeout" | "out-of-memory" | "output-missing" };

/** A group of which no more than `limit` members run at one time, in the whole project. */
export interface Concurrency {
  readonly group: string;
  readonly limit: number;
  /** What becomes of the next one when the group is full. */
  readonly policy: "queue" | "cancel-superseded";
}

/** A secret of the project that a task is given. */
export interface WantedSecret {
  readonly secret: string;
  /** The variable that holds it, or the path of the file that does. */
  readonly env: string;
  readonly file: boolean;
  /** Of its entry. */
  readonly position: Position;
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
