import { existsSync } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type DiskIndex, diskIndex } from "../../../shared/cas/disk-index.ts";
import { blobFile, segmentFolder, segmentName } from "../../../shared/cas/disk-layout.ts";
import type { Digest } from "../../../shared/digest.ts";
import { openSqlite } from "../../../shared/sqlite/open.ts";
import type { Sqlite } from "../../../shared/sqlite/sqlite.ts";
import { logPath } from "../../farm/logs/log-path.ts";
import { sqliteEventStore } from "../../store/sqlite-event-store.ts";
import { contains } from "./contains.ts";
import { type BackupFile, contents } from "./manifest.ts";
import { startedLogs } from "./started-logs.ts";

/** A file that a backup copies. */
export interface SourceFile {
  readonly from: string;
  /** Relative to the coordinator's folder. */
  readonly path: string;
  /** What stands behind is of a later time than the snapshot. */
  readonly bytesMax?: number;
  /** Set when the file is this blob, so that its bytes can be checked. */
  readonly blob?: Digest;
}

export interface SourceFiles {
  /** What the snapshot names, then everything else that the coordinator keeps: tokens, keys, certificates. */
  readonly files: AsyncIterable<SourceFile>;
  /** Of the database and the store. */
  readonly expectedBytes: number;
  /** Packed blobs that lie beyond the end of the copied segments. */
  beyond(copied: readonly BackupFile[]): AsyncIterable<Digest>;
  close(): Promise<void>;
}

export interface SourceOptions {
  readonly data: string;
  /** Of the farm's own CA, which tokens name; need not be there. */
  readonly tlsDir: string;
  /** The key of the secrets: copied only when that was asked for, or it would lie beside what it opens. */
  readonly secretKey?: { readonly file: string; readonly isWanted: boolean } | undefined;
  /** The snapshot. */
  readonly database: string;
  readonly signal: AbortSignal;
}

/** At the top of the coordinator's folder: copied in a way of its own, or on demand, or worth nothing elsewhere. */
const notCopied = /^(secret\.key.*|coordinator\.db.*|cas|logs|lock.*|native|reserve|.*\.sock)$/;

/** Lists what belongs to a snapshot of the database. */
export async function sourceFiles({ data, tlsDir, secretKey, database, signal }: SourceOptions): Promise<SourceFiles> {
  const snapshot = await openSqlite({ path: database, schema: [], readOnly: true, addonDir: data });
  try {
    const index = diskIndex(snapshot);
    const { segmentEnds, bytes } = await measure(index);
    const { size } = await lstat(database);
    return {
      expectedBytes: size + bytes,
      files: list({ data, tlsDir, secretKey, snapshot, index, segmentEnds, signal }),
      beyond: (copied) => blobsBeyond(index, segmentEnds, copied),
      close: () => snapshot.close(),
    };
  } catch (error) {
    await snapshot.close();
    throw error;
  }
}

async function measure(index: DiskIndex) {
  const segmentEnds = new Map<number, number>();
  let bytes = 0;
  for await (const { digest, segment, offset } of index.load()) {
    if (segment === 0) bytes += digest.sizeBytes;
    else segmentEnds.set(segment, Math.max(segmentEnds.get(segment) ?? 0, offset + digest.sizeBytes));
  }
  for (const end of segmentEnds.values()) bytes += end;
  return { segmentEnds, bytes };
}

interface Listing extends Pick<SourceOptions, "data" | "tlsDir" | "secretKey" | "signal"> {
  readonly snapshot: Sqlite;
  readonly index: DiskIndex;
  readonly segmentEnds: ReadonlyMap<number, number>;
}

async function* list(listing: Listing): AsyncGenerator<SourceFile> {
  const { data, tlsDir, secretKey, snapshot, index, segmentEnds, signal } = listing;
  const named = (path: string) => ({ from: join(data, path), path });
  for (const [segment, bytesMax] of segmentEnds) yield { ...named(segmentPath(segment)), bytesMax };
  for await (const { digest, segment } of index.load()) {
    if (segment === 0) yield { ...named(`cas/${blobFile(digest)}`), blob: digest };
  }
  for await (const log of startedLogs(sqliteEventStore({ sqlite: snapshot }), signal)) {
    const path = logPath("logs", log);
    // Of an attempt that goes on, the two may be of different moments: a log mends its index when it is opened.
    yield named(`${path}.idx`);
    yield named(`${path}.log`);
  }
  for await (const file of besides(data, tlsDir)) if (!isSame(file.from, secretKey?.file)) yield file;
  if (secretKey?.isWanted === true) yield { from: secretKey.file, path: "secret.key" };
}

/** Paths may be written in two ways, as settings are. */
function isSame(path: string, other: string | undefined): boolean {
  return other !== undefined && resolve(path) === resolve(other);
}

/** What is neither database nor store nor log. */
async function* besides(data: string, tlsDir: string): AsyncGenerator<SourceFile> {
  yield* others(data);
  // Kept elsewhere, it is restored to where a coordinator looks by itself.
  if (!contains(data, tlsDir) && existsSync(tlsDir)) yield* below(tlsDir, "tls");
}

async function* others(data: string): AsyncGenerator<SourceFile> {
  for (const entry of await readdir(data, { withFileTypes: true })) {
    if (notCopied.test(entry.name)) continue;
    if (entry.isFile()) yield { from: join(data, entry.name), path: entry.name };
    if (entry.isDirectory()) yield* below(join(data, entry.name), entry.name);
  }
}

async function* below(folder: string, as: string): AsyncGenerator<SourceFile> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const from = join(folder, entry.name);
    const path = `${as}/${entry.name}`;
    if (entry.isFile()) yield { from, path };
    if (entry.isDirectory()) yield* below(from, path);
  }
}

async function* blobsBeyond(
  index: DiskIndex,
  segmentEnds: ReadonlyMap<number, number>,
  copied: readonly BackupFile[],
): AsyncGenerator<Digest> {
  const sizes = new Map(copied.map(({ path, sizeBytes }) => [path, sizeBytes]));
  const short = new Map<number, number>();
  for (const [segment, end] of segmentEnds) {
    const size = sizes.get(`${contents}/${segmentPath(segment)}`) ?? 0;
    if (size < end) short.set(segment, size);
  }
  if (short.size === 0) return;
  for await (const { digest, segment, offset } of index.load()) {
    const size = short.get(segment);
    if (size !== undefined && offset + digest.sizeBytes > size) yield digest;
  }
}

function segmentPath(segment: number): string {
  return `cas/${segmentFolder}/${segmentName(segment)}`;
}
