import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { syncDirectory } from "../../../shared/cas/files.ts";
import { inParallel } from "../../../shared/cas/in-parallel.ts";
import type { Clock } from "../../../shared/clock.ts";
import { parseDigestKey } from "../../../shared/digest.ts";
import { storageFailure } from "../../../shared/disk-space.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { makeFolder } from "../../../shared/make-folder.ts";
import { lockFolder } from "../../../shared/sqlite/folder-lock.ts";
import { openSqlite } from "../../../shared/sqlite/open.ts";
import type { SchemaPart } from "../../../shared/sqlite/sqlite.ts";
import { copyFile } from "./copy-file.ts";
import { type BackupFile, contents, decodeManifest, type Manifest, manifestName } from "./manifest.ts";
import { clearFolder, markUnfinished, unfinishedRestore } from "./unfinished.ts";

export interface RestoreOptions {
  /** The folder of the backup. */
  readonly backup: string;
  /** A coordinator's folder that is to be: absent, empty, or with an unfinished restore. */
  readonly data: string;
  /** Of the database, so that a backup of a newer program is refused and one of an older program is brought up to date. */
  readonly schema: readonly SchemaPart[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Bytes so far, and in all. */
  onProgress(bytes: number, expectedBytes: number): void;
}

export interface RestoreSummary extends Manifest {
  readonly bytes: number;
}

/**
 * Puts a backup into an empty folder, where a coordinator then goes on from the moment at which the database was read.
 * Every byte is checked while it is copied. What is damaged is named, all of it, and then nothing is restored.
 *
 * The restored farm must not take what happened after the backup for its own: an agent may still hold a lease of a later
 * time. So the term of its epochs jumps beyond every term that the lost coordinator can have given out: a term grows by
 * one with each start, thus never faster than the seconds, which are where it jumps to. The numbers of runs leave a gap for
 * those that were given after the backup: what is written of them elsewhere must not come to mean other runs.
 * @throws MillraceError data_loss naming damaged and missing files; failed_precondition when the folder is not empty, or
 * the backup is unfinished or of a newer program
 */
export async function restoreBackup(options: RestoreOptions): Promise<RestoreSummary> {
  const { backup, data } = options;
  const manifest = await readManifest(backup);
  const folder = resolve(data);
  const lock = await claimFolder(folder);
  try {
    const bytes = await copyAll(manifest.files, options);
    await settleDatabase(manifest, options);
    await rm(join(folder, unfinishedRestore));
    await syncDirectory(folder);
    return { ...manifest, bytes };
  } catch (error) {
    const failure = storageFailure(error, `restoring ${backup}`, { owner: "the coordinator", folder });
    await clearFolder(folder, unfinishedRestore).catch((second: unknown) => {
      failure.message += ` (and then ${from(second, `clearing ${folder}`).message}; remove it)`;
    });
    throw failure;
  } finally {
    lock.release();
  }
}

async function readManifest(backup: string): Promise<Manifest> {
  const path = join(backup, manifestName);
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    const failure = from(error, `reading ${path}`);
    if (failure.code !== "not_found") throw failure;
    const message = `${backup} holds no finished backup: it has no ${manifestName}, which \`millrace admin backup\` writes last`;
    throw new MillraceError("failed_precondition", message, { cause: error });
  });
  return decodeManifest(text, path);
}

async function claimFolder(folder: string) {
  makeFolder(folder);
  const entries = await readdir(folder);
  if (entries.length > 0 && !entries.includes(unfinishedRestore)) {
    throw new MillraceError(
      "failed_precondition",
      `${folder} is not empty: restore into a folder that is new or empty`,
    );
  }
  await markUnfinished(folder, unfinishedRestore);
  const lock = lockFolder(folder, "coordinator or restore");
  const own = new Set([unfinishedRestore, "lock", "lock.pid"]);
  for (const name of await readdir(folder)) if (!own.has(name)) await rm(join(folder, name), { recursive: true });
  return lock;
}

async function copyAll(files: readonly BackupFile[], options: RestoreOptions): Promise<number> {
  const { backup, data, signal, onProgress } = options;
  const expectedBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const folders = new Set([resolve(data)]);
  const damaged: string[] = [];
  let bytes = 0;
  const onBytes = (count: number) => onProgress((bytes += count), expectedBytes);
  const copy = async (file: BackupFile, aborted: AbortSignal): Promise<void> => {
    const to = join(resolve(data), file.path.slice(contents.length + 1));
    if (!folders.has(dirname(to))) {
      await mkdir(dirname(to), { recursive: true, mode: 0o700 });
      for (let made = dirname(to); !folders.has(made); made = dirname(made)) folders.add(made);
    }
    const problem = await copyChecked(join(backup, file.path), to, file, { signal: aborted, onBytes });
    if (problem !== undefined) damaged.push(`${join(backup, file.path)}: ${problem}`);
  };
  await inParallel(files, copy, signal);
  if (damaged.length > 0) throw damagedBackup(damaged);
  await inParallel(folders, (path) => syncDirectory(path), signal);
  return bytes;
}

/** What is wrong with the file of the backup, for a person; undefined when nothing is. */
async function copyChecked(
  original: string,
  to: string,
  { sizeBytes, sha256, mode }: BackupFile,
  options: { readonly signal: AbortSignal; onBytes(count: number): void },
): Promise<string | undefined> {
  try {
    const copied = await copyFile(original, to, { ...options, mode });
    if (copied.sizeBytes !== sizeBytes) return `it has ${copied.sizeBytes} bytes, not ${sizeBytes}`;
    return copied.sha256 === sha256 ? undefined : `its bytes are ${copied.sha256}, not ${sha256}`;
  } catch (error) {
    if (from(error).code === "not_found") return "it is gone";
    throw error;
  }
}

function damagedBackup(damaged: readonly string[]): MillraceError {
  const named = damaged.toSorted().slice(0, limits.damagedNamed);
  const more = damaged.length > named.length ? `\n  and ${damaged.length - named.length} more` : "";
  const message = `the backup is damaged, nothing was restored; take another one. Damaged:\n  ${named.join("\n  ")}${more}`;
  return new MillraceError("data_loss", message);
}

/** The last number that may have been given: as if there had been a run each second since the backup. */
export function numbersGiven(last: number, { createdMs, nowMs }: { createdMs: number; nowMs: number }): number {
  const { restoredRunGap } = limits;
  const gap = Math.max(restoredRunGap, (nowMs - createdMs) / 1000);
  return Math.ceil((last + gap) / restoredRunGap) * restoredRunGap;
}

async function settleDatabase({ lost, createdMs }: Manifest, { data, schema, clock }: RestoreOptions): Promise<void> {
  const sqlite = await openSqlite({ path: join(data, "coordinator.db"), schema });
  try {
    const [check] = await sqlite.query<{ quick_check: string }>("PRAGMA quick_check");
    if (check?.quick_check !== "ok") {
      throw new MillraceError(
        "data_loss",
        `the database of the backup is damaged (${check?.quick_check}): take another`,
      );
    }
    const nowMs = clock.nowMs();
    const [given] = await sqlite.query<{ last: number | null }>("SELECT max(number) AS last FROM run_summary");
    await sqlite.write([
      {
        sql: "UPDATE run_number_floor SET floor = max(floor, ?)",
        params: [numbersGiven(given?.last ?? 0, { createdMs, nowMs })],
      },
      {
        sql: "UPDATE term SET current = max(current, ?)",
        params: [Math.floor(nowMs / 1000)],
      },
      {
        sql: `DELETE FROM cas_blob WHERE (hash, size) IN
              (SELECT unhex(value ->> 0), value ->> 1 FROM json_each(?))`,
        params: [JSON.stringify(lost.map(parseDigestKey).map(({ hash, sizeBytes }) => [hash, sizeBytes]))],
      },
    ]);
  } finally {
    await sqlite.close();
  }
}
