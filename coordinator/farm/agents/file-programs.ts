import { createHash } from "node:crypto";
import type { Stats } from "node:fs";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { from, MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { type Program, type Programs, programPlatforms } from "./programs.ts";

export interface FileProgramsOptions {
  /** A folder as `npm run package` leaves it. */
  readonly dist: string;
  /** Our own executable, for its platform, when `dist` has none; undefined when we are not the one executable. */
  readonly own?: { readonly file: string; readonly platform: string } | undefined;
  readonly version: string;
}

/** A file that was digested, and how we know that it is the same one still. */
interface Known {
  readonly identity: string;
  readonly program: Program;
}

/** Programs that are files. No name that anybody asks for becomes a path: the names are made here. */
export function filePrograms({ dist, own, version }: FileProgramsOptions): Programs {
  const known = new Map<string, Promise<Known>>();
  const nameOf = (platform: string) => `millrace-${version}-${platform}`;
  const filesOf = (platform: string) => [
    join(dist, nameOf(platform)),
    ...(own !== undefined && own.platform === platform ? [own.file] : []),
  ];

  /** The first of the files that is there. */
  async function openOne(platform: string): Promise<{ file: string; handle: FileHandle } | undefined> {
    for (const file of filesOf(platform)) {
      const handle = await openIfThere(file);
      if (handle !== undefined) return { file, handle };
    }
    return undefined;
  }

  async function digested(platform: string, file: string, handle: FileHandle): Promise<Known> {
    const identity = identityOf(await handle.stat());
    const before = await known.get(file)?.catch(() => undefined); // its failure was its asker's to hear
    if (before?.identity === identity) return before;
    const digesting = digest(handle).then(async ({ sha256, sizeBytes }): Promise<Known> => {
      await compare(file, sha256);
      return { identity, program: { name: nameOf(platform), version, platform, sha256, sizeBytes } };
    });
    known.set(file, digesting);
    return await digesting;
  }

  return {
    advice: `run \`npm run package\` in the coordinator's checkout, or start it with --dist and a folder that has ${nameOf(programPlatforms[0])}`,
    async find(platform) {
      if (!programPlatforms.some((one) => one === platform)) return undefined;
      const found = await openOne(platform);
      if (found === undefined) return undefined;
      await using handle = found.handle;
      return (await digested(platform, found.file, handle)).program;
    },
    async *read(program) {
      const found = await openOne(program.platform);
      if (found === undefined) throw new MillraceError("aborted", `${program.name} is gone; ask for it again`);
      await using handle = found.handle;
      const { program: now } = await digested(program.platform, found.file, handle);
      if (now.sha256 !== program.sha256) {
        throw new MillraceError("aborted", `another ${program.name} has taken its place; ask for it again`);
      }
      yield* piecesOf(handle);
    },
  };
}

async function openIfThere(file: string): Promise<FileHandle | undefined> {
  try {
    return await open(file, "r");
  } catch (error) {
    const failure = from(error, `opening ${file}`);
    if (failure.code === "not_found") return undefined;
    throw failure;
  }
}

function identityOf({ dev, ino, size, mtimeMs }: Stats): string {
  return [dev, ino, size, mtimeMs].join(" ");
}

/** The file may be replaced by another, but one that is open stays what it is; it is read from its beginning. */
async function* piecesOf(handle: FileHandle): AsyncGenerator<Uint8Array> {
  for (let position = 0; ; ) {
    const piece = Buffer.allocUnsafe(limits.streamChunkBytes);
    const { bytesRead } = await handle.read(piece, 0, piece.byteLength, position);
    if (bytesRead === 0) return;
    yield piece.subarray(0, bytesRead);
    position += bytesRead;
  }
}

async function digest(handle: FileHandle): Promise<{ sha256: string; sizeBytes: number }> {
  const sum = createHash("sha256");
  let sizeBytes = 0;
  for await (const piece of piecesOf(handle)) {
    sum.update(piece);
    sizeBytes += piece.byteLength;
  }
  return { sha256: sum.digest("hex"), sizeBytes };
}

/** Where its builder left a checksum, it must be that of the file: half a copy must not reach every machine. */
async function compare(file: string, sha256: string): Promise<void> {
  const sums = await readFile(`${file}.sha256`, "utf8").catch((error: unknown) => {
    if (from(error).code === "not_found") return undefined;
    throw from(error, `reading ${file}.sha256`);
  });
  if (sums === undefined || sums.startsWith(sha256)) return;
  throw new MillraceError(
    "failed_precondition",
    `${file} is not what ${file}.sha256 says: run \`npm run package\` again`,
  );
}
