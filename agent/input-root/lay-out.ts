import { mkdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import type { TreeEntry } from "../../shared/merkle/tree-entry.ts";
import type { LocalStore } from "../store/local-store.ts";

/** Entries made in one go before the event loop gets its turn: about 5 ms. */
const entriesPerTurn = 128;

/**
 * Makes a tree below `folder`, which must be empty or absent. Its files must have been ensured in the store. Directories
 * get mode 0755, files 0444, executables 0555.
 */
export async function layOut(
  store: Pick<LocalStore, "place">,
  entries: readonly TreeEntry[],
  folder: string,
  how: "link" | "copy",
): Promise<void> {
  const made = new Set<string>();
  const makeFolder = (path: string) => {
    if (made.has(path)) return;
    mkdirSync(path, { recursive: true, mode: 0o755 });
    made.add(path);
  };
  makeFolder(folder);
  let count = 0;
  for (const { path, node } of entries) {
    const target = join(folder, path);
    switch (node.kind) {
      case "file":
        makeFolder(dirname(target));
        store.place(node, target, how);
        break;
      case "symlink":
        makeFolder(dirname(target));
        symlinkSync(node.target, target);
        break;
      case "directory":
        makeFolder(target); // an empty one: others are said by what is in them
        break;
      default:
        node satisfies never;
    }
    if (++count % entriesPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}
