import type { Readable } from "node:stream";
import { MillraceError } from "../../shared/errors.ts";
import type { Git } from "./git.ts";

/** An object of git; its content is read before the next one is. */
export interface GitObject {
  readonly oid: string;
  readonly type: "blob" | "tree" | "commit" | "tag";
  readonly sizeBytes: number;
  /** The bytes, in pieces; once. What is not read is passed over. */
  content(): AsyncIterable<Buffer>;
  /** All of them. Only for what is known to be small. */
  whole(): Promise<Buffer>;
}

/** Reads objects of a mirror, by one process. One call at a time. */
export interface ObjectReader {
  /** In the order asked for; to be read to the end, or not used any more. Throws `data_loss` when one is missing. */
  read(oids: readonly string[]): AsyncGenerator<GitObject>;
  close(): void;
}

export interface OpenObjectsOptions {
  readonly git: Git;
  /** The mirror. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

/** Starts `git cat-file --batch`, which answers each object id with a line of what it is and the bytes. */
export function openObjects({ git, folder, signal }: OpenObjectsOptions): ObjectReader {
  const process = git.start(["cat-file", "--batch"], { folder, signal });
  const input = byteReader(process.stdout);

  async function next(oid: string): Promise<GitObject & { readonly left: () => number }> {
    const line = await input.line();
    if (line === undefined) {
      await process.ended;
      throw new MillraceError("data_loss", `git cat-file ended before it had read ${oid}`);
    }
    const [found, type, size] = line.split(" ");
    if (found !== oid || size === undefined) throw new MillraceError("data_loss", `the mirror has no object ${oid}`);
    const sizeBytes = Number(size);
    let left = sizeBytes;
    async function* content(): AsyncGenerator<Buffer> {
      while (left > 0) {
        const piece = await input.piece(left);
        if (piece === undefined) throw new MillraceError("data_loss", `git cat-file ended in the middle of ${oid}`);
        left -= piece.length;
        yield piece;
      }
    }
    const whole = async () => Buffer.concat(await Array.fromAsync(content()));
    return { oid, type: type as GitObject["type"], sizeBytes, content, whole, left: () => left };
  }

  return {
    async *read(oids) {
      if (oids.length === 0) return;
      process.stdin.write(`${oids.join("\n")}\n`);
      for (const oid of oids) {
        const object = await next(oid);
        yield object;
        while (object.left() > 0) for await (const _ of object.content());
        await input.piece(1); // the line feed behind it
      }
    },
    close: () => process.kill(),
  };
}

/** Lines and bytes from one stream. */
function byteReader(stream: Readable) {
  const chunks: AsyncIterator<Buffer> = stream[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);

  async function more(): Promise<boolean> {
    const next = await chunks.next();
    if (next.done === true) return false;
    rest = rest.length === 0 ? next.value : Buffer.concat([rest, next.value]);
    return true;
  }

  return {
    /** Without its end; undefined at the end of the stream. */
    async line(): Promise<string | undefined> {
      for (;;) {
        const end = rest.indexOf(0x0a);
        if (end >= 0) {
          const line = rest.toString("latin1", 0, end);
          rest = rest.subarray(end + 1);
          return line;
        }
        if (!(await more())) return undefined;
      }
    },
    /** At least one byte and at most so many; undefined at the end. */
    async piece(most: number): Promise<Buffer | undefined> {
      while (rest.length === 0) if (!(await more())) return undefined;
      const piece = rest.subarray(0, most);
      rest = rest.subarray(piece.length);
      return piece;
    },
  };
}
