import { join } from "node:path";
import { MillraceError } from "../../shared/errors.ts";
import { readableWord } from "../../shared/shell-word.ts";
import { defaultDataFolder } from "../data-folder.ts";
import { forgetProcess, type RecordedProcess, recordedProcess, recordProcess } from "./process-record.ts";

/** Writes down that this process runs the farm of a data folder. Only who has the lock of the folder does so. */
export function recordFarm(dataDir: string): void {
  recordProcess(recordFile(dataDir), process.pid);
}

export function forgetFarm(dataDir: string): void {
  forgetProcess(recordFile(dataDir));
}

/**
 * The process that runs the farm of a data folder, if there is one.
 * @throws MillraceError when that cannot be read: it is somebody else's
 */
export function farmProcess(dataDir: string): RecordedProcess | undefined {
  return recordedProcess(recordFile(dataDir));
}

/** Of a data folder in which a farm is up already. */
export function alreadyUp(dataDir: string, pid: number): MillraceError {
  return new MillraceError(
    "failed_precondition",
    `a farm is up with ${dataDir} already (process ${pid}). Use that one, stop it with \`${downCommand(dataDir)}\`, or start\n` +
      "another one beside it: --data with another folder, and --grpc-port, --http-port and --nats-port with 0.",
  );
}

/** What stops the farm of a data folder, as a person types it. */
export function downCommand(dataDir: string): string {
  return dataDir === defaultDataFolder(process.env) ? "millrace down" : `millrace down --data ${readableWord(dataDir)}`;
}

function recordFile(dataDir: string): string {
  return join(dataDir, "pids", "up.json");
}
