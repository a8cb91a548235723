import { existsSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import type { MillraceError } from "../../../../shared/errors.ts";
import { limits } from "../../../../shared/limits.ts";
import { openDiskReserve, reservedSqlite } from "../../../../shared/sqlite/disk-reserve.ts";
import { openSqlite } from "../../../../shared/sqlite/open.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { mountSmallDisk } from "../../../support/small-disk.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const schema = [{ name: "t", migrations: ["CREATE TABLE t (bytes BLOB) STRICT"] }];

test("a full disk takes writes from the reserve, which is taken again when there is room, and outlives a restart", async ({
  skip,
}) => {
  const disk = mountSmallDisk(2 * limits.diskReservePlentyBytes) ?? skip("this user may not mount a tmpfs");
  onTestFinished(() => disk.remove());
  const clock = fakeClock();
  const errors: MillraceError[] = [];
  const file = join(disk.dir, "reserve");
  const open = () => openDiskReserve({ file, clock, onError: (error) => errors.push(error) });
  const database = await openSqlite({ path: join(disk.dir, "db"), schema });
  onTestFinished(() => database.close());
  const large = [{ sql: "INSERT INTO t VALUES (zeroblob(100000))" }];

  await open().close();
  disk.fill("filler");
  await expect(database.write(large)).rejects.toMatchObject({ code: "resource_exhausted" });
  const reserve = open(); // of the start before
  onTestFinished(() => reserve.close());
  const sqlite = reservedSqlite(database, reserve);
  expect(await Promise.all([sqlite.write(large), sqlite.write(large)])).toEqual([[1], [1]]);
  expect(existsSync(file)).toBe(false);
  expect(errors).toMatchObject([{ code: "resource_exhausted", message: expect.stringContaining("is given back") }]);

  clock.advance(limits.diskReserveCheckMs);
  expect(existsSync(file)).toBe(false);
  rmSync(join(disk.dir, "filler"));
  await vi.waitFor(() => {
    clock.advance(limits.diskReserveCheckMs);
    expect(existsSync(file)).toBe(true);
  });
  expect(await reserve.release(), "there is room without it").toBe(false);
});

test("a reserve that a crash left half taken is taken anew", async () => {
  const file = join(tempDir(), "reserve");
  writeFileSync(file, "part");
  const reserve = openDiskReserve({ file, clock: fakeClock(), onError: (error) => expect.unreachable(error.message) });
  await reserve.close();
  expect(statSync(file).size).toBe(limits.diskReserveBytes);
});
