import { describe, expect, it } from "vitest";
import { bulkyLog, bulkyOutput, farmOnSmallDisk, mebibyte, noMounts } from "../support/full-disk.ts";
import { isLong } from "../support/long.ts";

/** The sizes of a disk as it may be; the same on a smaller one is in e2e. */
const diskBytes = 300 * mebibyte;
const bulkBytes = 500 * 1_000_000;
const enlargedBytes = 2048 * mebibyte;

describe("500 MB on a disk of 300 MB", () => {
  it.for([
    { what: "as an output", source: bulkyOutput },
    { what: "as output to the log", source: bulkyLog },
  ])("$what end with 3 and a cause, and in success once the disk is enlarged", async ({ source }, { skip }) => {
    if (!isLong) skip("runs with `npm run test:chaos`");
    const { disk, farm } = (await farmOnSmallDisk(diskBytes)) ?? skip(noMounts);
    const folder = source(bulkBytes);
    const failed = await farm.run(folder);
    expect(failed.exitStatus).toBe(3);
    expect(failed.tasks[0]?.ending).toMatch(/the disk of .* is full: .* of 300\.0 MiB free; free some space there/);
    disk.resize(enlargedBytes);
    const { exitStatus, status } = await farm.run(folder);
    expect({ exitStatus, status }).toEqual({ exitStatus: 0, status: "succeeded" });
  });
});
