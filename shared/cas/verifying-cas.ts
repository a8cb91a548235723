import { type Digest, digestEquals, digestKey, digestOf, hasher } from "../digest.ts";
import { from, MillraceError } from "../errors.ts";
import type { Cas } from "./cas.ts";

/** Takes a blob out of a store: from then on it is missing, so that it can be written again. */
export type Quarantine = (digest: Digest) => Promise<void>;

export interface VerifyingOptions {
  /** Of the store below. */
  readonly quarantine: Quarantine;
  /** Told once for each corrupt blob found, after it is out of the way. For a log line and a counter. */
  readonly onCorrupt: (digest: Digest, problem: string) => void;
}

/**
 * Checks digest and size of everything that is read whole, while it streams: disks lie, and a wrong byte in a build is
 * found weeks later. A corrupt blob is quarantined, so that its owner uploads it again. What is written is checked by
 * every store itself, as the port demands; a second hash here would only cost.
 */
export function verifyingCas(base: Cas, { quarantine, onCorrupt }: VerifyingOptions): Cas {
  async function corrupt(digest: Digest, problem: string): Promise<MillraceError> {
    await quarantine(digest);
    onCorrupt(digest, problem);
    return new MillraceError("data_loss", `blob ${digestKey(digest)} is corrupt (${problem}); upload it again`);
  }

  async function* read(...[digest, range, signal]: Parameters<Cas["read"]>): AsyncGenerator<Uint8Array> {
    const { offset = 0, limit = digest.sizeBytes } = range ?? {};
    const whole = offset === 0 && limit >= digest.sizeBytes;
    const hash = hasher();
    try {
      for await (const chunk of base.read(digest, range, signal)) {
        if (whole) hash.update(chunk);
        yield chunk;
      }
      if (!whole) return;
      const found = hash.digest();
      if (!digestEquals(found, digest)) throw new MillraceError("data_loss", `its bytes are ${digestKey(found)}`);
    } catch (error) {
      // Also what the store noticed by itself: a file that is gone or has another size.
      const { code, message } = from(error);
      throw code === "data_loss" ? await corrupt(digest, message) : error;
    }
  }

  return {
    findMissing: (digests, signal) => base.findMissing(digests, signal),
    write: (digest, source, signal) => base.write(digest, source, signal),
    writeMany: (blobs, signal) => base.writeMany(blobs, signal),
    read,
    async readMany(digests, signal) {
      const found = await base.readMany(digests, signal);
      for (const digest of digests) {
        const data = found.get(digestKey(digest));
        if (data === undefined) continue;
        const actual = digestOf(data);
        if (digestEquals(actual, digest)) continue;
        found.delete(digestKey(digest));
        await corrupt(digest, `its bytes are ${digestKey(actual)}`);
      }
      return found;
    },
  };
}
