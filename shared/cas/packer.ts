import { type Digest, type DigestKey, digestKey } from "../digest.ts";
import { MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import { turns } from "../turns.ts";
import type { PlacedBlob } from "./blob-table.ts";
import type { Blob } from "./cas.ts";
import type { Segments } from "./segments.ts";

/** Brings small blobs into segments. */
export interface Packer {
  /** Resolves when all of them are durable. */
  pack(blobs: readonly Blob[]): Promise<void>;
  /** Does something else with the segments when no append is under way. */
  between<T>(work: () => Promise<T>): Promise<T>;
  /** Resolves when nothing is under way. */
  idle(): Promise<void>;
}

export interface PackerDeps {
  readonly segments: Segments;
  /** Whether it is there, which counts as a use. */
  use(digest: Digest): boolean;
  commit(blobs: readonly PlacedBlob[]): Promise<void>;
  /** What writers are told of an error. */
  failed(error: unknown): MillraceError;
}

interface Waiting {
  readonly blobs: readonly Blob[];
  readonly bytes: number;
  readonly done: PromiseWithResolvers<void>;
}

/** Many writers, one append at a time: what arrives during one fsync shares the next. */
export function packInto({ segments, use, commit, failed }: PackerDeps): Packer {
  const waiting: Waiting[] = [];
  const { take } = turns();
  let waitingBytes = 0;
  let running: Promise<void> | undefined;

  async function packAll(): Promise<void> {
    while (waiting.length > 0) {
      const group = takeGroup();
      try {
        await take(() => packGroup(group));
        for (const { done } of group) done.resolve();
      } catch (error) {
        const failure = failed(error);
        for (const { done } of group) done.reject(failure);
      } finally {
        for (const { bytes } of group) waitingBytes -= bytes;
      }
    }
    running = undefined;
  }

  async function packGroup(group: readonly Waiting[]): Promise<void> {
    const fresh = new Map<DigestKey, Blob>();
    for (const blob of group.flatMap(({ blobs }) => blobs)) {
      if (!use(blob.digest)) fresh.set(digestKey(blob.digest), blob);
    }
    await commit(await segments.append([...fresh.values()]));
  }

  function takeGroup(): Waiting[] {
    let count = 0;
    for (let bytes = 0; count < waiting.length; count++) {
      bytes += waiting[count]?.bytes ?? 0;
      if (bytes > limits.casCommitBytes) break;
    }
    return waiting.splice(0, Math.max(1, count));
  }

  return {
    async pack(blobs) {
      const fresh = blobs.filter(({ digest }) => !use(digest));
      if (fresh.length === 0) return;
      const bytes = fresh.reduce((sum, { digest }) => sum + digest.sizeBytes, 0);
      if (waitingBytes > 0 && waitingBytes + bytes > limits.casPendingBytes) {
        throw new MillraceError(
          "resource_exhausted",
          "too many blobs are waiting for the disk; write again in a moment",
        );
      }
      const done = Promise.withResolvers<void>();
      waiting.push({ blobs: fresh, bytes, done });
      waitingBytes += bytes;
      running ??= packAll();
      await done.promise;
    },
    between: take,
    async idle() {
      await running;
      await take(async () => undefined);
    },
  };
}
