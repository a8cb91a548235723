import { getRawAsset, isSea } from "node:sea";
import { MillraceError } from "./errors.ts";

/** The parts that deploy/build-single-file.ts puts into the one executable, by name. */
export const assetNames = {
  /** Everything but the parts below, as a script. */
  program: "program.js",
  /** Compiled code of `program`, for the V8 of the same executable. */
  programCode: "program.code",
  /** The thread that owns a database, as a script. */
  sqliteWorker: "sqlite-worker.js",
  /** better-sqlite3's native addon. */
  sqliteAddon: "better_sqlite3.node",
  /** The runner, as a module. */
  runner: "runner.mjs",
  /** The installer that the coordinator serves. */
  installer: "install.sh",
} as const;

export type AssetName = (typeof assetNames)[keyof typeof assetNames];

/** Whether this process is the one self-contained executable, and not a Node that runs a checkout or a package. */
export const isSingleFile: () => boolean = isSea;

/**
 * A part of the one executable, as a view of its mapped bytes: nothing is copied, and nothing may be written.
 * @throws MillraceError internal when the executable was built without it
 */
export function asset(name: AssetName): Uint8Array {
  try {
    return new Uint8Array(getRawAsset(name));
  } catch (error) {
    throw new MillraceError("internal", `this executable was built without ${name}`, { cause: error });
  }
}

/** The same as text; for parts that are text. */
export function textAsset(name: AssetName): string {
  return Buffer.from(getRawAsset(name)).toString("utf8");
}

/** The first argument of a start that is no command of a person's but a part of an agent; see bin/single-file.ts. */
export const runnerRole = "@runner-process";

/** How this program starts itself again: a file, and the arguments before the command. */
export interface OwnProgram {
  readonly file: string;
  readonly args: readonly string[];
}

/** @param flags for the Node of the new process, such as `--max-semi-space-size=1` */
export function ownProgram(flags: readonly string[] = []): OwnProgram {
  if (isSea()) return { file: process.execPath, args: nodeOptions(flags) };
  return { file: process.execPath, args: [...flags, ...process.execArgv, process.argv[1] ?? ""] };
}

/** Flags of Node in the form that the one executable takes them: it keeps all other arguments for itself. */
export function nodeOptions(flags: readonly string[]): string[] {
  return flags.length === 0 ? [] : [`--node-options=${flags.join(" ")}`];
}
