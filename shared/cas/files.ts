import { type FileHandle, open } from "node:fs/promises";
import { from, MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";

/** Writes all of it, however little the system takes at a time. */
export async function writeFully(file: FileHandle, data: Uint8Array, position?: number): Promise<void> {
  for (let done = 0; done < data.byteLength; ) {
    const at = position === undefined ? null : position + done;
    const { bytesWritten } = await file.write(data, done, data.byteLength - done, at);
    done += bytesWritten;
  }
}

export interface NewFile {
  /** Default 0644; less the umask. */
  readonly mode?: number;
  /** Whether it must survive a loss of power. */
  readonly durable: boolean;
}

/**
 * Writes a file that must not exist, in large pieces whatever the source gives. What is left after an error is the
 * caller's to remove.
 */
export async function writeNewFile(
  path: string,
  source: AsyncIterable<Uint8Array>,
  { mode = 0o644, durable }: NewFile,
): Promise<void> {
  const file = await open(path, "wx", mode);
  try {
    for await (const piece of gather(source, limits.streamChunkBytes)) await writeFully(file, piece);
    if (durable) await file.datasync();
  } finally {
    await file.close();
  }
}

/** The same bytes in pieces of at least `bytesMin`, but for the last. */
export async function* gather(source: AsyncIterable<Uint8Array>, bytesMin: number): AsyncGenerator<Uint8Array> {
  let gathered: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of source) {
    gathered.push(chunk);
    bytes += chunk.byteLength;
    if (bytes < bytesMin) continue;
    yield gathered.length === 1 ? chunk : Buffer.concat(gathered);
    gathered = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(gathered);
}

/** Makes names that were created, renamed or removed in a directory survive a loss of power. */
export async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * The bytes of a file from `start` to `end`, in chunks that the reader may keep.
 * @throws MillraceError data_loss when the file is gone or has not `sizeBytes` bytes.
 */
export async function* readFileRange(
  path: string,
  sizeBytes: number,
  { start, end }: { readonly start: number; readonly end: number },
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const file = await open(path, "r").catch((error: unknown) => {
    const cause = from(error, "opening the file of a blob");
    throw cause.code === "not_found" ? new MillraceError("data_loss", "its file is gone", { cause }) : cause;
  });
  try {
    const { size } = await file.stat();
    if (size !== sizeBytes) throw new MillraceError("data_loss", `its file has ${size} bytes, not ${sizeBytes}`);
    for (let position = start; position < end; ) {
      signal?.throwIfAborted();
      const chunk = Buffer.allocUnsafeSlow(Math.min(limits.streamChunkBytes, end - position));
      const { bytesRead } = await file.read(chunk, 0, chunk.byteLength, position);
      if (bytesRead === 0) throw new MillraceError("data_loss", `its file ends at ${position}`);
      position += bytesRead;
      yield chunk.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}
