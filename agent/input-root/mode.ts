import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { limits } from "../../shared/limits.ts";
import { removeTree } from "../../shared/remove-tree.ts";

/** How inputs are kept from being written to. */
export type InputRootMode =
  | {
      /**
       * Each task writes to an overlay of its own on top of a tree that is hard-linked from the store. The mounts live
       * in the runner's mount namespace, so none is left when the runner is gone, and the kernel shows the merged tree
       * to whoever looks through `/proc/<runner>/root`: nobody here has to understand whiteouts.
       */
      readonly kind: "overlay";
      /** The command in front of the runner's own that makes the namespace. */
      readonly namespace: readonly string[];
      /** For `mount`, relative to the folder of the execution, before `lowerdir`. */
      readonly options: string;
    }
  /** Each task gets copies. Slower, and works everywhere. */
  | { readonly kind: "copy" };

const layers = "upperdir=upper,workdir=work";
const candidates: readonly InputRootMode[] = [
  // With redirect_dir a task may rename directories of its inputs; without, that fails as between file systems.
  {
    kind: "overlay",
    namespace: ["unshare", "--mount", "--propagation", "private"],
    options: `${layers},redirect_dir=on`,
  },
  { kind: "overlay", namespace: ["unshare", "--mount", "--propagation", "private"], options: layers },
  {
    kind: "overlay",
    namespace: ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"],
    options: `${layers},userxattr`,
  },
];

/** Writes through a hard-linked input as a task would, and looks whether the original is untouched. */
const probeScript = `set -e
mount -t overlay overlay -o "lowerdir=lower,$1" root
echo changed >> root/input
rm root/folder/old
rmdir root/folder
mkdir root/folder
echo new > root/folder/new
[ "$(cat original)" = first ]
[ "$(ls root/folder)" = new ]`;

/**
 * The fastest mode that this machine allows for a data folder, found by trying: kernels, containers and file systems
 * differ too much to be asked.
 * @param folder an existing folder on the file system in question; the probe cleans up behind itself
 */
export async function probeInputRootMode(folder: string): Promise<InputRootMode> {
  for (const mode of candidates) if (mode.kind === "overlay" && (await works(folder, mode))) return mode;
  return { kind: "copy" };
}

async function works(folder: string, mode: InputRootMode & { kind: "overlay" }): Promise<boolean> {
  const probe = join(folder, `probe-${process.pid}`);
  try {
    for (const name of ["lower/folder", "upper", "work", "root"]) mkdirSync(join(probe, name), { recursive: true });
    const prepare = "echo first > original; ln original lower/input; chmod 444 original; echo old > lower/folder/old";
    const [file = "", ...rest] = mode.namespace;
    const script = `${prepare}; ${probeScript}`;
    await promisify(execFile)(file, [...rest, "/bin/sh", "-c", script, "probe", mode.options], {
      cwd: probe,
      timeout: limits.inputRootProbeMs,
    });
    return true;
  } catch {
    return false; // whatever it was: this machine does not allow it, the next mode is tried
  } finally {
    await removeTree(probe);
  }
}
