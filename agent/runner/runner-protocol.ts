/**
 * What agent and runner say to each other, as JSON over the runner's IPC channel. The agent names each task; the runner
 * answers `start` with `started` or `failed`, then once with `ended`. When the channel closes the runner kills everything
 * and exits.
 */
export type ToRunner = StartMessage | KillMessage | UnmountMessage;
export type FromRunner = ReadyMessage | StartedMessage | FailedMessage | EndedMessage | UnmountedMessage;

/** Start a process. */
export interface StartMessage {
  readonly type: "start";
  readonly id: string;
  /** For the log of process starts; empty for what is no execution and is not logged. */
  readonly executionId: string;
  readonly attempt: number;
  /** The program (looked for on the environment's PATH) and its arguments. */
  readonly arguments: readonly string[];
  /** The whole environment. */
  readonly environment: Readonly<Record<string, string>>;
  readonly workingFolder: string;
  /** The kernel appends standard output and standard error to this file, as they come. */
  readonly spool: string;
  /** An overlay to mount first, in the runner's own mount namespace. */
  readonly mount?: OverlayMount;
  /** What to put around the process; nothing when absent. See sandbox.mjs. */
  readonly sandbox?: Sandbox;
}

/** What a process may see and change of the file system; all else can be read only. Paths are absolute and real. */
export interface Sandbox {
  /** Folders whose contents are not there. */
  readonly hidden: readonly string[];
  /** Folders that can be read although they lie in hidden or temporary ones. */
  readonly readable: readonly string[];
  /** Folders that can be written to, also below hidden ones. */
  readonly writable: readonly string[];
  /** Stands behind /tmp and /var/tmp. */
  readonly temporary: string;
  /** False: it has no network but a loopback of its own. */
  readonly network: boolean;
}

/** An overlay; the paths in it are relative to `folder`, so that no character in them needs escaping. */
export interface OverlayMount {
  readonly folder: string;
  readonly options: string;
  readonly target: string;
}

/** End a task: SIGTERM to all of its processes, and SIGKILL to all when the grace is over (at once when it is 0). */
export interface KillMessage {
  readonly type: "kill";
  readonly id: string;
  readonly graceMs: number;
}

/** Take an overlay away again. */
export interface UnmountMessage {
  readonly type: "unmount";
  readonly id: string;
  readonly path: string;
}

/** The runner is up and has ended whatever an earlier one left. */
export interface ReadyMessage {
  readonly type: "ready";
  /** For example `containment:cgroup-v2`. */
  readonly feature: string;
}

/** The process runs. */
export interface StartedMessage {
  readonly type: "started";
  readonly id: string;
  readonly pid: number;
}

/** No process was started. */
export interface FailedMessage {
  readonly type: "failed";
  readonly id: string;
  /** `exec`: the program could not be run. `setup`: all else. */
  readonly step: "setup" | "exec";
  /** Of Node's system error, for example `ENOENT`; may be empty. */
  readonly code: string;
  readonly message: string;
}

/** The first process has ended and no other is left. Exactly one of `code` and `signal` is set. */
export interface EndedMessage {
  readonly type: "ended";
  readonly id: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Of all processes; 0 where it is not measured. */
  readonly cpuMs: number;
  readonly peakMemoryBytes: number;
  /** The kernel ended a process of the task for want of memory. */
  readonly outOfMemory: boolean;
}

/** The overlay is gone, or never was there. */
export interface UnmountedMessage {
  readonly type: "unmounted";
  readonly id: string;
}
