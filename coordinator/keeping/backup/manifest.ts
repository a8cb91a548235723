import { hash } from "node:crypto";
import { z } from "zod";
import { type DigestKey, digestKey, parseDigestKey } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";

/** A file of a backup. */
export interface BackupFile {
  /** Relative to the folder of the backup, with `/`. */
  readonly path: string;
  readonly sizeBytes: number;
  /** SHA-256, in hex. */
  readonly sha256: string;
  /** Permissions alone, such as 0o600. */
  readonly mode: number;
}

/**
 * What a backup consists of: every file with the digest of its bytes, so that a restore proves each byte. It is written
 * last and under its name all at once, so a folder without one is no backup.
 */
export interface Manifest {
  /** Of the program that made it. */
  readonly version: string;
  /** Wall time at which the database was read. */
  readonly createdMs: number;
  readonly files: readonly BackupFile[];
  /** Blobs that the store names and whose bytes were gone or wrong already: a restore makes them missing. */
  readonly lost: readonly DigestKey[];
}

/** In the folder of the backup. */
export const manifestName = "manifest.jsonl";

/** Below the folder of the backup: what goes into the coordinator's folder. */
export const contents = "data";

/** Grows when an older program could not restore what a newer one writes. */
const format = 1;

const header = z.object({ millraceBackup: z.number().int(), version: z.string(), createdMs: z.number() });
const fileLine = z.object({
  path: z.string().min(1),
  sizeBytes: z.number().int().nonnegative(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  mode: z.number().int().nonnegative().max(0o777),
});
const lostLine = z.object({ lost: z.string() });
const footer = z.object({ files: z.number().int(), sha256: z.string() });

/** One JSON object a line: the header, files, lost blobs, and a last line with the digest of all lines before it. */
export function encodeManifest({ version, createdMs, files, lost }: Manifest): string {
  const lines = [
    { millraceBackup: format, version, createdMs },
    ...files.map(({ path, sizeBytes, sha256, mode }) => ({ path, sizeBytes, sha256, mode })),
    ...lost.map((key) => ({ lost: key })),
  ];
  const body = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  return `${body}${JSON.stringify({ files: files.length, sha256: hash("sha256", body) })}\n`;
}

/**
 * @param where the manifest's path, for messages
 * @throws MillraceError data_loss when a byte of it is not as it was written, or a path leads out of the backup;
 * failed_precondition when a newer program wrote it
 */
export function decodeManifest(text: string, where: string): Manifest {
  const damaged = (what: string) =>
    new MillraceError("data_loss", `${where} is damaged (${what}): take another backup; nothing was restored`);
  const end = text.lastIndexOf("\n", text.length - 2) + 1;
  const body = text.slice(0, end);
  const last = parsed(footer, text.slice(end));
  if (last === undefined) throw damaged("it has no last line");
  if (last.sha256 !== hash("sha256", body)) throw damaged("its lines are not those that were written");
  const [first = "", ...lines] = body.split("\n").slice(0, -1);
  const head = parsed(header, first);
  if (head === undefined) throw damaged("it has no first line");
  if (head.millraceBackup > format) {
    const message = `${where} was written by Millrace ${head.version}, in a form that this program does not know: restore it with that version`;
    throw new MillraceError("failed_precondition", message);
  }
  const files: BackupFile[] = [];
  const lost: DigestKey[] = [];
  for (const line of lines) {
    const file = parsed(fileLine, line);
    const gone = file === undefined ? parsed(lostLine, line) : undefined;
    if (gone !== undefined) lost.push(digestKey(parseDigestKey(gone.lost)));
    else if (file === undefined || !isInside(file.path)) throw damaged(`a line of it is ${JSON.stringify(line)}`);
    else files.push(file);
  }
  if (files.length !== last.files) throw damaged(`it names ${files.length} files and counts ${last.files}`);
  return { version: head.version, createdMs: head.createdMs, files, lost };
}

function isInside(path: string): boolean {
  return (
    path.startsWith(`${contents}/`) && path.split("/").every((part) => part !== "" && part !== "." && part !== "..")
  );
}

function parsed<T>(schema: z.ZodType<T>, line: string): T | undefined {
  try {
    return schema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined; // no JSON: the caller says which line
  }
}
