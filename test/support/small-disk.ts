import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { from } from "../../shared/errors.ts";
import { tempDir } from "./temp-dir.ts";

/** A file system of its own that a test can fill. It lives until it is removed. */
export interface SmallDisk {
  readonly dir: string;
  /** Without unmounting: what is open stays open. */
  resize(sizeBytes: number): void;
  /** Writes a file until nothing more fits. */
  fill(file: string): void;
  /** Unmounts it, whoever has files open. */
  remove(): void;
}

/** Mounts one, on a folder of the test when none is given. Undefined where this user may mount nothing. */
export function mountSmallDisk(sizeBytes: number, dir: string = tempDir()): SmallDisk | undefined {
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${sizeBytes},mode=0755`, "millrace-test", dir]);
  if (mounted.status !== 0) return undefined;
  return {
    dir,
    resize: (newBytes) => void execFileSync("mount", ["-o", `remount,size=${newBytes}`, dir]),
    fill(file) {
      const piece = Buffer.alloc(4096);
      try {
        for (;;) writeFileSync(join(dir, file), piece, { flag: "a" });
      } catch (error) {
        if (from(error).code !== "resource_exhausted") throw error;
      }
    },
    remove: () => void execFileSync("umount", ["--lazy", dir]),
  };
}
