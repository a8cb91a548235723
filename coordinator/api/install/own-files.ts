import { readFileSync } from "node:fs";
import { arch, platform } from "node:os";
import { dirname } from "node:path";
import { from } from "../../../shared/errors.ts";
import { ownFile } from "../../../shared/own-files.ts";
import { assetNames, isSingleFile, textAsset } from "../../../shared/single-file.ts";

/** Where `npm run package` leaves programs; beside our executable when we are one ourselves. */
export function ownDist(): string {
  return isSingleFile() ? dirname(process.execPath) : ownFile("dist");
}

/** Ourselves, when we are the one executable: an agent that fits is always at hand then. */
export function ownExecutable(): { file: string; platform: string } | undefined {
  return isSingleFile() ? { file: process.execPath, platform: `${platform()}-${arch()}` } : undefined;
}

/** The text of deploy/install.sh. */
export function readInstaller(): string {
  if (isSingleFile()) return textAsset(assetNames.installer);
  const file = ownFile("deploy/install.sh");
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw from(error, `reading the installer ${file}, which belongs to this program`);
  }
}
