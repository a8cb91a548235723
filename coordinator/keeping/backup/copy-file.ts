import { constants, type FileHandle, open } from "node:fs/promises";
import { writeFully } from "../../../shared/cas/files.ts";
import { hasher } from "../../../shared/digest.ts";
import { limits } from "../../../shared/limits.ts";
import type { BackupFile } from "./manifest.ts";

export interface CopyOptions {
  /** At most this many bytes from the start; default all. What is appended while it is copied is left out. */
  readonly bytesMax?: number;
  /** Of the copy; default that of the original. */
  readonly mode?: number;
  readonly signal: AbortSignal;
  /** Told of each piece. */
  onBytes(count: number): void;
}

/**
 * Copies a file that may grow meanwhile, hashing what it writes, into a new one; resolves when the copy is on disk.
 * Its name is not: who copies many brings their folders to disk in the end.
 */
export async function copyFile(from: string, to: string, options: CopyOptions): Promise<Omit<BackupFile, "path">> {
  const source = await open(from, "r");
  try {
    const stat = await source.stat();
    const mode = options.mode ?? stat.mode & 0o777;
    // No bit more than the original at any moment, whatever the umask: some of these are secrets.
    const target = await open(to, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      const end = Math.min(stat.size, options.bytesMax ?? stat.size);
      const sha256 = await copyBytes(source, target, end, options);
      await target.chmod(mode);
      await target.sync();
      return { ...sha256, mode };
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

async function copyBytes(source: FileHandle, target: FileHandle, end: number, { signal, onBytes }: CopyOptions) {
  const hash = hasher();
  const buffer = Buffer.allocUnsafeSlow(Math.min(limits.streamChunkBytes, Math.max(1, end)));
  for (let position = 0; position < end; ) {
    signal.throwIfAborted();
    const { bytesRead } = await source.read(buffer, 0, Math.min(buffer.byteLength, end - position), position);
    if (bytesRead === 0) break; // it was cut short: who knows its size sees it
    const piece = buffer.subarray(0, bytesRead);
    hash.update(piece);
    await writeFully(target, piece, position);
    position += bytesRead;
    onBytes(bytesRead);
  }
  const { hash: sha256, sizeBytes } = hash.digest();
  return { sha256, sizeBytes };
}
