import { lstatSync, mkdirSync } from "node:fs";
import { open } from "node:fs/promises";
import { join, posix, relative } from "node:path";
import type { Digest } from "../../shared/digest.ts";
import { from, type MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { Runner } from "../runner/runner.ts";
import type { OverlayMount } from "../runner/runner-protocol.ts";
import type { LocalStore } from "../store/local-store.ts";
import { fetchTree, type HeldTree, type InputTrees, isSmallTree } from "./input-trees.ts";
import { layOut } from "./lay-out.ts";
import type { InputRootMode } from "./mode.ts";
import { removeTree } from "./remove-tree.ts";

/** The place where one process runs: its inputs and nothing else, writable without touching the store. */
export interface InputRoot {
  /** The root as the process sees it. */
  readonly path: string;
  /** For HOME and TMPDIR; empty. */
  readonly home: string;
  readonly temporary: string;
  /** What the runner must mount before the process starts. */
  readonly mount?: OverlayMount;
  /** The root as the process left it, for reading; close it before `remove`. */
  look(): Promise<{ readonly path: string; close(): Promise<void> }>;
  /** Gives everything back. The removal itself goes on in the background. */
  remove(): void;
}

/** Makes the places where processes run. */
export interface InputRoots {
  /**
   * @param folders directories to make if they are not there, relative to the root
   * @throws MillraceError when inputs are missing in the farm, hostile, or the disk is full
   */
  create(root: Digest, folders: readonly string[], signal: AbortSignal): Promise<InputRoot>;
  /** Waits for removals that are under way. */
  close(): Promise<void>;
}

export interface InputRootsOptions {
  readonly mode: InputRootMode;
  readonly store: LocalStore;
  readonly trees: InputTrees;
  readonly runner: Pick<Runner, "seenByTasks" | "unmount">;
  /** Holds one folder for each execution; empty or absent at first. */
  readonly folder: string;
  readonly onError: (error: MillraceError) => void;
  /** Trees of at most so many entries are copied in each mode; default `limits.smallTreeEntries`, -1 for none. */
  readonly smallTreeEntries?: number;
}

/** Places for processes, in the mode that the machine allows. */
export function inputRoots(options: InputRootsOptions): InputRoots {
  const { mode, store, trees, runner, folder: all, onError, smallTreeEntries = limits.smallTreeEntries } = options;
  let created = 0;
  const removals = new Set<Promise<void>>();

  function removeLater(folder: string, mounted: string | undefined, tree: HeldTree | undefined): void {
    const removal = (async () => {
      if (mounted !== undefined) await runner.unmount(mounted);
      await removeTree(folder);
    })()
      .catch((error: unknown) => onError(from(error, "removing the folder of an execution")))
      .finally(() => {
        tree?.release();
        removals.delete(removal);
      });
    removals.add(removal);
  }

  return {
    async create(root, folders, signal) {
      // Many tasks that end faster than their folders go would fill the disk.
      while (removals.size >= limits.transfersInFlight) await Promise.race(removals);
      const folder = join(all, String(++created));
      const path = join(folder, "root");
      const paths = { path, home: join(folder, "home"), temporary: join(folder, "tmp") };
      let tree: HeldTree | undefined;
      try {
        for (const each of [path, paths.home, paths.temporary]) mkdirSync(each, { recursive: true });
        if (mode.kind === "copy" || (await isSmallTree(store, root, { maxEntries: smallTreeEntries, signal }))) {
          const { entries, pin } = await fetchTree(store, root, signal);
          await layOut(store, entries, path, "copy").finally(() => pin.release());
          makeFolders(path, path, folders);
        } else {
          tree = await trees.hold(root, signal);
          for (const layer of ["upper", "work"]) mkdirSync(join(folder, layer));
          makeFolders(tree.path, join(folder, "upper"), folders);
        }
      } catch (error) {
        removeLater(folder, undefined, tree);
        throw error;
      }
      const mount =
        mode.kind === "overlay" && tree !== undefined ? overlay(folder, tree.path, mode.options) : undefined;
      return {
        ...paths,
        ...(mount === undefined ? {} : { mount }),
        async look() {
          // The handle keeps the mount alive and in sight even if the runner, whose namespace it is in, goes away.
          const handle = await open(mount === undefined ? path : runner.seenByTasks(path), "r");
          return { path: `/proc/self/fd/${handle.fd}`, close: () => handle.close() };
        },
        remove: () => removeLater(folder, mount === undefined ? undefined : path, tree),
      };
    },
    async close() {
      await Promise.all(removals);
    },
  };
}

function overlay(folder: string, lower: string, options: string): OverlayMount {
  return { folder, options: `lowerdir=${relative(folder, lower)},${options}`, target: "root" };
}

/** Makes folders in the writable layer where the inputs have nothing of that name; an input in the way is left alone. */
function makeFolders(inputs: string, writable: string, folders: readonly string[]): void {
  for (const folder of folders) {
    let path = "";
    for (const name of posix.normalize(folder).split("/")) {
      path = posix.join(path, name);
      const input = lstatSync(join(inputs, path), { throwIfNoEntry: false });
      if (input !== undefined && !input.isDirectory()) break;
      mkdirSync(join(writable, path), { recursive: true, mode: 0o755 });
    }
  }
}
