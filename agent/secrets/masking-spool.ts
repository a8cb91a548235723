import { open } from "node:fs/promises";
import { limits } from "../../shared/limits.ts";
import type { MaskStream } from "../../shared/masking/mask-stream.ts";
import type { Masking } from "../../shared/masking/masking.ts";
import { turns } from "../../shared/turns.ts";
import type { Spool } from "../logs/spool.ts";
import type { AttemptMasking } from "./attempt-masking.ts";

/**
 * A spool whose bytes are masked on their way out. While the task writes, the file is as the task wrote it, and the end of
 * what was read is held back while it could be the beginning of a secret; when it is sealed the file itself is masked.
 * Masked bytes have the places of those that they hide, so offsets mean the same everywhere. What was read stays as it was
 * when the task names more secrets later; the file does not.
 */
export function maskingSpool(base: Spool, masking: Pick<AttemptMasking, "now">, path: string): Spool {
  let hidden = masking.now();
  let stream: MaskStream = hidden.stream();
  /** Masked and not read yet. */
  let ready = Buffer.alloc(0);
  /** Offset of the log where `ready` begins. */
  let readyAt = 0;
  /** How far the base was read. */
  let readTo = 0;
  let sealed = false;
  /** A read while the file is being masked would find half of a secret, and not know it for one. */
  const access = turns();

  /** Reads on from elsewhere: what comes before decides what the first bytes are. */
  async function goTo(offset: number): Promise<void> {
    const context = await base.before(offset, limits.maskingContextBytes * 2);
    stream = hidden.stream();
    ready = Buffer.from(stream.push(context));
    readyAt = offset - context.byteLength;
    readTo = offset;
  }

  /** Whether there are more secrets than before. */
  function renew(): boolean {
    const before = hidden;
    hidden = masking.now();
    return hidden !== before;
  }

  function dropBefore(offset: number): void {
    const dropped = Math.min(ready.byteLength, Math.max(0, offset - readyAt));
    ready = ready.subarray(dropped);
    readyAt += dropped;
  }

  async function read(offset: number, limitBytes: number): Promise<Uint8Array> {
    if (sealed) return await base.read(offset, limitBytes);
    if (hidden.isEmpty) {
      // Most tasks have nothing to hide and name nothing: their bytes are not copied.
      const raw = await base.read(offset, limitBytes);
      if (!renew()) return raw;
      await goTo(offset);
    } else if (offset !== readyAt) await goTo(offset);
    dropBefore(offset);
    while (readyAt < offset || ready.byteLength < limitBytes) {
      const raw = await base.read(readTo, limits.logChunkBytes);
      // Only now: what the task named before it printed these bytes is known by then.
      if (renew()) {
        await goTo(offset);
        dropBefore(offset);
        continue;
      }
      if (raw.byteLength === 0) break;
      readTo += raw.byteLength;
      ready = Buffer.concat([ready, stream.push(raw)]);
      dropBefore(offset);
    }
    if (readyAt < offset) return new Uint8Array(); // still held back, the first of it included
    const out = Buffer.from(ready.subarray(0, limitBytes));
    dropBefore(offset + out.byteLength);
    return out;
  }

  async function seal(maxBytes: number, marker: string): Promise<void> {
    const isCut = (await base.size()) > maxBytes;
    await base.seal(maxBytes, marker);
    renew();
    if (!hidden.isEmpty) await maskFile(path, hidden, isCut ? Buffer.byteLength(marker) : 0);
    sealed = true;
  }

  return {
    read: (offset, limitBytes) => access.take(() => read(offset, limitBytes)),
    before: (offset, limitBytes) => base.before(offset, limitBytes),
    size: () => base.size(),
    seal: (maxBytes, marker) => access.take(() => seal(maxBytes, marker)),
    close: () => base.close(),
  };
}

/**
 * Masks a file in place. Nobody may write to it meanwhile; done again it changes nothing.
 * @param tailBytes at its end that are not the task's
 */
async function maskFile(path: string, masking: Masking, tailBytes: number): Promise<void> {
  await using file = await open(path, "r+");
  const end = (await file.stat()).size - tailBytes;
  const stream = masking.stream();
  const buffer = Buffer.allocUnsafeSlow(limits.streamChunkBytes);
  let writtenTo = 0;

  async function write(masked: Uint8Array): Promise<void> {
    const clear = Buffer.allocUnsafeSlow(masked.byteLength);
    await file.read(clear, 0, clear.byteLength, writtenTo);
    // Each place by itself: a write that a kill cuts short would leave half of a secret that nobody knows for one.
    for (const [start, end] of changes(clear, masked)) {
      await file.write(masked, start, end - start, writtenTo + start);
    }
    writtenTo += masked.byteLength;
  }

  for (let at = 0; at < end; ) {
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.byteLength, end - at), at);
    if (bytesRead === 0) break;
    at += bytesRead;
    await write(stream.push(buffer.subarray(0, bytesRead)));
  }
  await write(stream.end());
}

/** Where two texts of one length differ, each place as a whole: line breaks within a secret are no end of it. */
function changes(before: Uint8Array, after: Uint8Array): [start: number, end: number][] {
  const places: [start: number, end: number][] = [];
  if (Buffer.compare(before, after) === 0) return places;
  for (let index = 0; index < after.byteLength; index += 1) {
    if (before[index] === after[index]) continue;
    const last = places.at(-1);
    if (last !== undefined && index - last[1] <= 2) last[1] = index + 1;
    else places.push([index, index + 1]);
  }
  return places;
}
