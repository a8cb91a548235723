import { type Digest, type DigestKey, digestKey } from "../digest.ts";

/**
 * Keeps the removal of a blob and its being written anew apart: a file that is renamed into place while another one of
 * that name is being removed would go with it, and its row would stay.
 */
export interface ChangingFiles {
  /** Waits for a removal of the same blob; while the work goes on, it counts as being stored. */
  store(digest: Digest, work: () => Promise<void>): Promise<void>;
  /** Whether it is being stored: then it must not be removed. */
  isStored(digest: Digest): boolean;
  /** Begins at once. */
  remove(digest: Digest, work: () => Promise<void>): Promise<void>;
}

export function changingFiles(): ChangingFiles {
  const storing = new Map<DigestKey, number>();
  const removing = new Map<DigestKey, Promise<void>>();
  return {
    async store(digest, work) {
      const key = digestKey(digest);
      for (let removal = removing.get(key); removal !== undefined; removal = removing.get(key)) await removal;
      storing.set(key, (storing.get(key) ?? 0) + 1);
      try {
        await work();
      } finally {
        const others = (storing.get(key) ?? 1) - 1;
        if (others > 0) storing.set(key, others);
        else storing.delete(key);
      }
    },
    isStored: (digest) => storing.has(digestKey(digest)),
    async remove(digest, work) {
      const key = digestKey(digest);
      const removal = work();
      const settled = removal.catch(() => undefined); // who asked for it is told
      removing.set(key, settled);
      try {
        await removal;
      } finally {
        if (removing.get(key) === settled) removing.delete(key);
      }
    },
  };
}
