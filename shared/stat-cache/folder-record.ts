import { hash } from "node:crypto";
import type { Digest } from "../digest.ts";
import type { FileStats } from "./file-stats.ts";

/** A file as it was when its bytes were hashed. */
export interface KnownFile {
  readonly stats: FileStats;
  readonly digest: Digest;
}

/** The files directly in one folder, by name. */
export type FolderRecord = ReadonlyMap<string, KnownFile>;

/** A record as it is stored. */
export interface PackedRecord {
  readonly files: Uint8Array;
  readonly checksum: Uint8Array;
}

/** Size, mtime, ctime and inode in 8 bytes each, the SHA-256, and the length of the name; the name follows. */
const fixedBytes = 4 * 8 + 32 + 2;

/**
 * One value for a whole folder: a row for each file costs more to load than the tree costs to walk. The checksum covers
 * the folder's path too, so that a record that was damaged or came to stand in another's place is found out.
 */
export function packRecord(folder: string, record: FolderRecord): PackedRecord {
  const names = [...record.keys()].map((name) => Buffer.from(name));
  const files = Buffer.alloc(names.reduce((sum, name) => sum + fixedBytes + name.byteLength, 0));
  let at = 0;
  for (const [index, { stats, digest }] of [...record.values()].entries()) {
    const name = names[index] ?? Buffer.alloc(0);
    at = files.writeBigUInt64LE(BigInt(stats.sizeBytes), at);
    at = files.writeBigInt64LE(stats.mtimeNs, at);
    at = files.writeBigInt64LE(stats.ctimeNs, at);
    at = files.writeBigUInt64LE(stats.inode, at);
    at += files.write(digest.hash, at, "hex");
    at = files.writeUInt16LE(name.byteLength, at);
    at += name.copy(files, at);
  }
  return { files, checksum: checksumOf(folder, files) };
}

/** The record, or undefined when its bytes are not those that were packed for this folder. */
export function unpackRecord(folder: string, packed: PackedRecord): FolderRecord | undefined {
  if (Buffer.compare(checksumOf(folder, packed.files), packed.checksum) !== 0) return undefined;
  const { buffer, byteOffset, byteLength } = packed.files;
  const files = Buffer.from(buffer, byteOffset, byteLength);
  const record = new Map<string, KnownFile>();
  for (let at = 0; at < byteLength; ) {
    const sizeBytes = Number(files.readBigUInt64LE(at));
    const stats = {
      sizeBytes,
      mtimeNs: files.readBigInt64LE(at + 8),
      ctimeNs: files.readBigInt64LE(at + 16),
      inode: files.readBigUInt64LE(at + 24),
    };
    const digest = { hash: files.toString("hex", at + 32, at + 64), sizeBytes };
    const end = at + fixedBytes + files.readUInt16LE(at + 64);
    record.set(files.toString("utf8", at + fixedBytes, end), { stats, digest });
    at = end;
  }
  return record;
}

function checksumOf(folder: string, files: Uint8Array): Buffer {
  const name = Buffer.from(`${folder}\0`);
  return Buffer.from(hash("sha256", Buffer.concat([name, files]), "buffer"));
}
