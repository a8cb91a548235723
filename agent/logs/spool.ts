import { type FSWatcher, watch } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

/**
 * A file that the kernel appends a task's output to. Read by offset in the log, which is the offset in the file unless
 * the task truncated it (`> /dev/stdout`): then what is new follows what was read, and what was lost stays lost.
 */
export interface Spool {
  /** Up to `limitBytes` from this offset of the log; empty at the end of what is there. The bytes are the caller's. */
  read(offset: number, limitBytes: number): Promise<Uint8Array>;
  /** What is right before this offset: at most `limitBytes`, and less where the file does not have it any more. */
  before(offset: number, limitBytes: number): Promise<Uint8Array>;
  /** The size of the log so far. */
  size(): Promise<number>;
  /** The writers are gone: cuts a log that is longer than `maxBytes` and ends it with the marker. */
  seal(maxBytes: number, marker: string): Promise<void>;
  close(): Promise<void>;
}

/** Opens an existing file; `onChange` is called when it may have grown. */
export async function openSpool(path: string, onChange: () => void): Promise<Spool> {
  const file: FileHandle = await open(path, "r+");
  const watcher: FSWatcher = watch(path, { persistent: false }, onChange);
  watcher.on("error", onChange); // a change that goes unseen is read with the next one, at the latest at the end
  /** Offset in the log of the file's first byte. */
  let base = 0;
  /** How far the log was read. */
  let readTo = 0;

  async function sizeOfFile(): Promise<number> {
    const { size } = await file.stat();
    if (readTo > base + size) base = readTo; // truncated
    return size;
  }

  return {
    async read(offset, limitBytes) {
      const size = await sizeOfFile();
      if (offset < base) base = offset; // asked to go back to what is no more
      const length = Math.min(limitBytes, base + size - offset);
      if (length <= 0) return new Uint8Array();
      const buffer = Buffer.allocUnsafeSlow(length);
      const { bytesRead } = await file.read(buffer, 0, length, offset - base);
      readTo = offset + bytesRead;
      return buffer.subarray(0, bytesRead);
    },
    async before(offset, limitBytes) {
      const start = Math.max(base, offset - limitBytes);
      if (start >= offset) return new Uint8Array();
      const buffer = Buffer.allocUnsafeSlow(offset - start);
      const { bytesRead } = await file.read(buffer, 0, buffer.byteLength, start - base);
      return bytesRead === buffer.byteLength ? buffer : new Uint8Array(); // truncated meanwhile
    },
    async size() {
      const size = await sizeOfFile();
      return base + size;
    },
    async seal(maxBytes, marker) {
      const size = await sizeOfFile();
      if (base + size <= maxBytes) return;
      const kept = Math.max(0, maxBytes - base - Buffer.byteLength(marker));
      await file.truncate(kept);
      await file.write(marker, kept);
    },
    async close() {
      watcher.close();
      await file.close();
    },
  };
}
