import { lstatSync, mkdirSync, symlinkSync } from "node:fs";
import { open } from "node:fs/promises";
import { join, posix, relative } from "node:path";
import type { Digest } from "../../shared/digest.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { removeTree } from "../../shared/remove-tree.ts";
import { copyCache, readCache } from "../caches/cache-tree.ts";
import type { HeldCache, Lookable } from "../caches/named-caches.ts";
import type { Runner } from "../runner/runner.ts";
import type { OverlayMount } from "../runner/runner-protocol.ts";
import type { LocalStore } from "../store/local-store.ts";
import { fetchTree, type HeldTree, type InputTrees, isSmallTree } from "./input-trees.ts";
import { layOut } from "./lay-out.ts";
import type { InputRootMode } from "./mode.ts";

/**
 * The place where one process runs: its inputs and nothing else, writable without touching the store. A look at it is
 * closed before `remove`.
 */
export interface InputRoot extends Lookable {
  /** The root as the process sees it. */
  readonly path: string;
  /** For HOME and TMPDIR; empty. */
  readonly home: string;
  readonly temporary: string;
  /** What the runner must mount before the process starts. */
  readonly mount?: OverlayMount;
  /** Gives everything back. The removal itself goes on in the background. */
  remove(): void;
}

/** What a root has beside its inputs. */
export interface BesideInputs {
  /** Directories to make if they are not there, relative to the root. */
  readonly folders: readonly string[];
  /** Writable at their paths, where the inputs have nothing. */
  readonly caches: readonly HeldCache[];
}

/** Makes the places where processes run. */
export interface InputRoots {
  /**
   * @param beside what it has beside its inputs. The caches are released when the root was removed, or could not be made
   * @throws MillraceError when inputs are missing in the farm, hostile, or the disk is full
   */
  create(root: Digest, beside: BesideInputs, signal: AbortSignal): Promise<InputRoot>;
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

  function removeLater(folder: string, mounted: string | undefined, held: readonly { release(): void }[]): void {
    const removal = (async () => {
      if (mounted !== undefined) await runner.unmount(mounted);
      await removeTree(folder);
    })()
      .catch((error: unknown) => onError(from(error, "removing the folder of an execution")))
      .finally(() => {
        for (const each of held) each.release();
        removals.delete(removal);
      });
    removals.add(removal);
  }

  return {
    async create(root, { folders, caches }, signal) {
      // Many tasks that end faster than their folders go would fill the disk.
      while (removals.size >= limits.transfersInFlight) await Promise.race(removals);
      const folder = join(all, String(++created));
      const path = join(folder, "root");
      const paths = { path, home: join(folder, "home"), temporary: join(folder, "tmp") };
      const held: { release(): void }[] = [...caches];
      let tree: HeldTree | undefined;
      try {
        for (const each of [path, paths.home, paths.temporary]) mkdirSync(each, { recursive: true });
        // A cache is seldom small, however small the inputs are.
        const maxEntries = caches.some(({ layer }) => layer !== undefined) ? -1 : smallTreeEntries;
        if (mode.kind === "copy" || (await isSmallTree(store, root, { maxEntries, signal }))) {
          const { entries, pin } = await fetchTree(store, root, signal);
          await layOut(store, entries, path, "copy").finally(() => pin.release());
          for (const cache of caches) refuseInTheWay(path, cache);
          makeFolders(path, path, [...folders, ...caches.map((cache) => cache.path)]);
          for (const cache of caches) await copyLayer(cache, path);
        } else {
          tree = await trees.hold(root, signal);
          held.push(tree);
          for (const cache of caches) refuseInTheWay(tree.path, cache);
          for (const layer of ["upper", "work"]) mkdirSync(join(folder, layer));
          const made = caches.flatMap((cache) => (cache.layer === undefined ? [cache.path] : []));
          makeFolders(tree.path, join(folder, "upper"), [...folders, ...made]);
        }
      } catch (error) {
        removeLater(folder, undefined, held);
        throw error;
      }
      const mount =
        mode.kind === "overlay" && tree !== undefined
          ? overlay(folder, [...caches.flatMap(({ layer }) => layer ?? []), tree.path], mode.options)
          : undefined;
      return {
        ...paths,
        ...(mount === undefined ? {} : { mount }),
        async look() {
          // The handle keeps the mount alive and in sight even if the runner, whose namespace it is in, goes away.
          const handle = await open(mount === undefined ? path : runner.seenByTasks(path), "r");
          return {
            path: `/proc/self/fd/${handle.fd}`,
            ...(mount === undefined ? {} : { written: join(folder, "upper") }),
            close: () => handle.close(),
          };
        },
        remove: () => removeLater(folder, mount === undefined ? undefined : path, held),
      };
    },
    async close() {
      await Promise.all(removals);
    },
  };
}

/**
 * The layers, the topmost first, by links with short names: newer versions of `mount` hand over each option on its own,
 * and the kernel then takes no more than 256 bytes of one.
 */
function overlay(folder: string, layers: readonly string[], options: string): OverlayMount {
  const names = layers.map((layer, index) => {
    symlinkSync(relative(folder, layer), join(folder, `l${index}`));
    return `l${index}`;
  });
  return { folder, options: `lowerdir=${names.join(":")},${options}`, target: "root" };
}

/** A cache on top of inputs would hide them or change with them; plans have none, but a hostile message may. */
function refuseInTheWay(inputs: string, { path }: HeldCache): void {
  const names = path.split("/");
  for (const [index] of names.entries()) {
    const isWhole = index === names.length - 1;
    const input = lstatSync(join(inputs, ...names.slice(0, index + 1)), { throwIfNoEntry: false });
    if (input === undefined) return;
    if (!isWhole && input.isDirectory()) continue;
    throw new MillraceError("invalid_argument", `a cache is at "${path}", where the inputs have something`);
  }
}

async function copyLayer({ layer, path }: HeldCache, root: string): Promise<void> {
  if (layer === undefined) return;
  const from = join(layer, path);
  await copyCache({ from, entries: await readCache(from) }, join(root, path), () => undefined);
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
