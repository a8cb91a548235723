import { onTestFinished } from "vitest";
import { project, startFarm, type TestFarm } from "./farm.ts";
import { mountSmallDisk, type SmallDisk } from "./small-disk.ts";

export const mebibyte = 1024 * 1024;

/** Why a test on a disk of its own is left out. */
export const noMounts = "this user may not mount a tmpfs";

/** A farm whose `--data` is on a disk of its own; undefined where nothing can be mounted. */
export async function farmOnSmallDisk(
  sizeBytes: number,
): Promise<{ readonly disk: SmallDisk; readonly farm: TestFarm } | undefined> {
  const disk = mountSmallDisk(sizeBytes);
  if (disk === undefined) return undefined;
  onTestFinished(() => disk.remove());
  const farm = await startFarm({ agents: 1, slots: 1, dir: `${disk.dir}/farm` });
  onTestFinished(() => farm.remove());
  return { disk, farm };
}

/** A project whose one task makes an output of this size. */
export function bulkyOutput(sizeBytes: number): string {
  const run = `head -c ${sizeBytes} /dev/zero > big`;
  return project({
    "millrace.yaml": `name: bulky\nstages:\n  a:\n    tasks:\n      b: { run: "${run}", outputs: { big: big } }\n`,
  });
}

/** A project whose one task prints this much, in lines of 64 bytes. */
export function bulkyLog(sizeBytes: number): string {
  const run = `yes ${"0123456789abcdef".repeat(4).slice(1)} | head -c ${sizeBytes}`;
  return project({
    "millrace.yaml": `name: talkative\nstages:\n  a:\n    tasks:\n      b: { run: "${run}", cache: false }\n`,
  });
}
