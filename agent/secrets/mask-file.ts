import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { limits } from "../../shared/limits.ts";
import type { NamedSecret } from "../../shared/masking/patterns.ts";

/** The variable that holds its path. */
export const maskVariable = "MILLRACE_MASK";

/** A file to which a task appends, a line each, values that it has made itself and wants masked. */
export interface MaskFile {
  readonly path: string;
  /** Looks what is there now, or was when it was closed. It does not wait: it reads some KiB at the most. */
  look(): NamedByTask;
  /** Call when no process of the task is there any more. */
  close(): void;
}

/** What a task has named so far. */
export interface NamedByTask {
  /** Those that are there and those that were there before, as they were first seen; the same list while nothing was added. */
  readonly values: readonly NamedSecret[];
  /** Why there may be more, and then it stays so; undefined when there are none. */
  readonly incomplete?: string;
}

/**
 * @param options.isNew it must not be there yet; else what an earlier start of the agent left is opened
 * @throws an error of the file system
 */
export function openMaskFile(path: string, { isNew }: { readonly isNew: boolean }): MaskFile {
  const file = openSync(
    path,
    isNew ? constants.O_CREAT | constants.O_EXCL | constants.O_RDWR : constants.O_RDONLY,
    0o600,
  );
  const seen = new Set<string>();
  let named: NamedByTask = { values: [] };
  let isClosed = false;
  let last: Uint8Array = Buffer.alloc(0);

  function read(): NamedByTask {
    const { size, nlink } = fstatSync(file);
    if (nlink === 0) {
      return { ...named, incomplete: `it has removed the file of ${maskVariable} or put another in its place` };
    }
    if (size === 0) return named;
    const buffer = Buffer.alloc(Math.min(size, limits.maskFileBytes + 1));
    const text = buffer.subarray(0, readSync(file, buffer, 0, buffer.byteLength, 0));
    if (text.equals(last)) return named; // its size and time may be those of before when it was written anew
    last = text;
    const before = seen.size;
    for (const line of text.toString("latin1").split(/[\r\n]+/)) if (line.trim() !== "") seen.add(line);
    if (text.byteLength > limits.maskFileBytes || seen.size > limits.maskedValues) {
      const bounds = `${limits.maskedValues} values or ${limits.maskFileBytes} bytes`;
      return { ...named, incomplete: `it has put more than ${bounds} into ${maskVariable}` };
    }
    if (seen.size === before) return named;
    const values = [...seen].map((line, index) => {
      return { name: `${maskVariable}:${index + 1}`, value: Buffer.from(line, "latin1") };
    });
    return { values };
  }

  function look(): NamedByTask {
    if (!isClosed && named.incomplete === undefined) named = read();
    return named;
  }

  return {
    path,
    look,
    close() {
      look();
      isClosed = true;
      closeSync(file);
    },
  };
}
