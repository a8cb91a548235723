import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { from, MillraceError } from "../../shared/errors.ts";

const program = z.object({ version: z.string(), sha256: z.string() });

const schema = z.object({
  /** Is being tried; still there at a start when the try was cut off. */
  trying: program.optional(),
  /** Did not join in time when it was tried, so often. */
  late: program.extend({ times: z.number() }).optional(),
  /** The last one that was not taken. */
  failed: program.extend({ reason: z.string(), timeMs: z.number() }).optional(),
});

/** What an agent must know of its upgrades over restarts. */
export type UpgradeRecord = z.output<typeof schema>;

const fileOf = (data: string) => join(data, "upgrade.json");

/** @throws MillraceError data_loss when the file says nothing that makes sense */
export function readUpgradeRecord(data: string): UpgradeRecord {
  const file = fileOf(data);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const failure = from(error, `reading ${file}`);
    if (failure.code === "not_found") return {};
    throw failure;
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new MillraceError("data_loss", `${file} is damaged: remove it, and upgrades begin anew`, { cause });
  }
}

/** Whole or not at all. */
export function writeUpgradeRecord(data: string, record: UpgradeRecord): void {
  const file = fileOf(data);
  if (Object.values(record).every((part) => part === undefined)) return rmSync(file, { force: true });
  writeFileSync(`${file}.new`, JSON.stringify(record), { mode: 0o600, flush: true });
  renameSync(`${file}.new`, file);
}
