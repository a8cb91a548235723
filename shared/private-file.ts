import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

export interface PrivateFileOptions {
  /** It is on disk before it is in its place: for what cannot be made again. Default false. */
  readonly durable?: boolean;
}

/** Writes a file that only this user may read, all at once: readers see the old text or the new one. */
export function writePrivateFile(file: string, text: string, { durable = false }: PrivateFileOptions = {}): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.${process.pid}.tmp`;
  const descriptor = openSync(temporary, "w", 0o600);
  try {
    writeFileSync(descriptor, text);
    if (durable) fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(temporary, file);
}
