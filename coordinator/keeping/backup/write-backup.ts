import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { syncDirectory } from "../../../shared/cas/files.ts";
import { inParallel } from "../../../shared/cas/in-parallel.ts";
import type { Clock } from "../../../shared/clock.ts";
import { type DigestKey, digestKey } from "../../../shared/digest.ts";
import { storageFailure } from "../../../shared/disk-space.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import { makeFolder } from "../../../shared/make-folder.ts";
import { openSqlite } from "../../../shared/sqlite/open.ts";
import { version } from "../../../shared/version.ts";
import { contains } from "./contains.ts";
import { copyFile } from "./copy-file.ts";
import { type BackupFile, contents, encodeManifest, manifestName } from "./manifest.ts";
import { type SourceFile, type SourceOptions, sourceFiles } from "./source-files.ts";
import { clearFolder, markUnfinished } from "./unfinished.ts";

/** How far a backup is. */
export interface BackupProgress {
  readonly files: number;
  readonly bytes: number;
  /** Of the database and of the store; logs come on top. 0 while the database is being read. */
  readonly expectedBytes: number;
}

export interface BackupSummary {
  readonly files: number;
  readonly bytes: number;
  /** Blobs of the store that were gone or wrong already: they are not in the backup. */
  readonly lost: readonly DigestKey[];
}

export interface BackupOptions {
  /** Of the coordinator. */
  readonly data: string;
  /** Of the farm's own CA. */
  readonly tlsDir: string;
  /** See SourceOptions. */
  readonly secretKey?: SourceOptions["secretKey"];
  /** Absolute; made when it is not there, else empty, or with an unfinished backup, which is cleared away. */
  readonly folder: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  onProgress(progress: BackupProgress): void;
}

/** In a folder where a backup was begun; the manifest takes its place. */
const unfinishedName = "unfinished";

/**
 * Copies a coordinator's folder while it works. **The database first, then what it names**: a row is committed only when
 * the bytes that it names are on disk, and while a backup is under way nothing is removed (the caller sees to that). So
 * whatever the snapshot names is there to be copied afterwards. The other way round, a blob that came between the two
 * would be named and missing.
 *
 * Ended half-way it leaves no manifest, and nobody takes the folder for a backup; what is left is cleared away by the
 * next one into the same folder. Aborted or failed, it clears it away itself.
 * @throws MillraceError invalid_argument, already_exists or failed_precondition for a folder that does not do
 */
export async function writeBackup(options: BackupOptions): Promise<BackupSummary> {
  const folder = await claimFolder(options);
  try {
    return await writeInto(folder, options);
  } catch (error) {
    const failure = storageFailure(error, `backing up into ${folder}`, { owner: "the coordinator", folder });
    await clearFolder(folder, unfinishedName).catch((second: unknown) => {
      failure.message += ` (and then ${from(second, `clearing ${folder}`).message}; remove it)`;
    });
    throw failure;
  }
}

async function writeInto(folder: string, options: BackupOptions): Promise<BackupSummary> {
  const { data, tlsDir, secretKey, clock, signal, onProgress } = options;
  let progress: BackupProgress = { files: 0, bytes: 0, expectedBytes: 0 };
  const report = (change: Partial<BackupProgress>) => onProgress((progress = { ...progress, ...change }));
  report({});
  const createdMs = clock.nowMs();
  const database = join(folder, contents, "coordinator.db");
  await mkdir(dirname(database), { mode: 0o700 });
  await snapshotDatabase(join(data, "coordinator.db"), database);

  const files: BackupFile[] = [];
  const lost: DigestKey[] = [];
  const folders = new Set([join(folder, contents)]);
  const onBytes = (count: number) => report({ bytes: progress.bytes + count });
  const copy = async (file: SourceFile, aborted: AbortSignal): Promise<void> => {
    const to = join(folder, contents, file.path);
    if (!folders.has(dirname(to))) {
      await mkdir(dirname(to), { recursive: true, mode: 0o700 });
      for (let made = dirname(to); !folders.has(made); made = dirname(made)) folders.add(made);
    }
    const copied = await copyOne(file, to, { signal: aborted, onBytes });
    if (copied !== undefined) files.push({ path: `${contents}/${file.path}`, ...copied });
    else if (file.blob !== undefined) lost.push(digestKey(file.blob));
    report({ files: files.length });
  };
  const source = await sourceFiles({ data, tlsDir, secretKey, database, signal });
  try {
    report({ expectedBytes: source.expectedBytes });
    await inParallel(source.files, copy, signal);
    for await (const digest of source.beyond(files)) lost.push(digestKey(digest));
  } finally {
    await source.close();
  }
  files.push(await describeDatabase(database, { signal, onBytes }));

  await inParallel(folders, (path) => syncDirectory(path), signal);
  await writeManifest(folder, encodeManifest({ version, createdMs, files, lost }));
  return { files: files.length, bytes: progress.bytes, lost };
}

/** A copy, or nothing when the original is not there or is not the blob that it should be. */
async function copyOne(
  { from: original, bytesMax, blob }: SourceFile,
  to: string,
  options: { readonly signal: AbortSignal; onBytes(count: number): void },
): Promise<Omit<BackupFile, "path"> | undefined> {
  try {
    const copied = await copyFile(original, to, { ...options, ...(bytesMax === undefined ? {} : { bytesMax }) });
    if (blob === undefined || (copied.sha256 === blob.hash && copied.sizeBytes === blob.sizeBytes)) return copied;
    await rm(to);
    return undefined;
  } catch (error) {
    // An attempt that never wrote a byte has no log; a blob that was set aside has no file.
    if (from(error).code === "not_found") return undefined;
    throw error;
  }
}

/** Beside the coordinator's own handle, so that no write of it waits. */
async function snapshotDatabase(path: string, to: string): Promise<void> {
  const reader = await openSqlite({ path, schema: [], readOnly: true });
  try {
    await reader.snapshot(to);
  } finally {
    await reader.close();
  }
}

/** The snapshot is in place already: it is hashed, made private and brought to disk. */
async function describeDatabase(
  path: string,
  options: { readonly signal: AbortSignal; onBytes(count: number): void },
): Promise<BackupFile> {
  const copied = await copyFile(path, `${path}.copy`, { ...options, mode: 0o600 });
  await rename(`${path}.copy`, path);
  await syncDirectory(dirname(path));
  return { path: `${contents}/coordinator.db`, ...copied };
}

async function writeManifest(folder: string, text: string): Promise<void> {
  const unnamed = join(folder, `${manifestName}.part`);
  await writeFile(unnamed, text, { flag: "wx", mode: 0o600, flush: true });
  await rename(unnamed, join(folder, manifestName));
  await rm(join(folder, unfinishedName));
  await syncDirectory(folder);
}

/** Takes a folder that is new, empty or holds what an unfinished backup left. */
async function claimFolder({ data, folder }: BackupOptions): Promise<string> {
  if (resolve(folder) !== folder.replace(/(?<=.)\/+$/, "")) {
    const message = `a backup goes into a folder of the coordinator's machine, named from the root: not "${folder}"`;
    throw new MillraceError("invalid_argument", message);
  }
  const path = resolve(folder);
  if (contains(data, path) || contains(path, data)) {
    const message = `${path} and the coordinator's folder ${data} are within one another: name a folder elsewhere, best on another disk`;
    throw new MillraceError("invalid_argument", message);
  }
  makeFolder(path);
  const entries = await readdir(path);
  if (entries.includes(manifestName)) {
    throw new MillraceError("already_exists", `${path} holds a backup already: name a folder that is new or empty`);
  }
  if (entries.length > 0 && !entries.includes(unfinishedName)) {
    throw new MillraceError("failed_precondition", `${path} is not empty: name a folder that is new or empty`);
  }
  await clearFolder(path, unfinishedName);
  await markUnfinished(path, unfinishedName);
  return path;
}
