import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, closeSync, constants, fsyncSync, linkSync, openSync, renameSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { writeFully } from "../../shared/cas/files.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { isSingleFile } from "../../shared/single-file.ts";
import type { OfferedProgram } from "./upgrade-state.ts";

/** The executable that this agent was started from, and those beside it: `.offered`, and `.previous` after an upgrade. */
export interface Installation {
  /** The offered one; there after `put`. */
  readonly offered: string;
  /** Writes the offered one. Throws `data_loss` when its bytes are not what was offered. */
  put(program: OfferedProgram, bytes: AsyncIterable<Uint8Array>): Promise<void>;
  /** Why the offered one does not run on this machine; undefined when it does. */
  whyNot(program: OfferedProgram, signal: AbortSignal): Promise<string | undefined>;
  /** The offered one takes the name of the present one, which stays as the previous one. At no moment is there none. */
  take(): void;
  discard(): void;
}

/** Whether an agent can exchange its executable: it is one file, and may write beside it. Packages keep that to themselves. */
export function canExchange(executable: string): boolean {
  if (!isSingleFile()) return false;
  try {
    accessSync(dirname(executable), constants.W_OK);
    return true;
  } catch {
    return false; // installed by somebody else, who upgrades it
  }
}

/** @param executable absolute and real */
export function installation(executable: string): Installation {
  const offered = `${executable}.offered`;
  const previous = `${executable}.previous`;
  return {
    offered,
    async put({ sha256, sizeBytes }, bytes) {
      if (sizeBytes > limits.programBytes) {
        throw new MillraceError("data_loss", `a program of ${sizeBytes} bytes is offered; none is that large`);
      }
      rmSync(offered, { force: true });
      await using file = await open(offered, "wx", 0o755);
      const digest = createHash("sha256");
      let written = 0;
      for await (const piece of bytes) {
        written += piece.byteLength;
        if (written > sizeBytes) break;
        digest.update(piece);
        await writeFully(file, piece);
      }
      await file.sync();
      if (written === sizeBytes && digest.digest("hex") === sha256) return;
      throw new MillraceError("data_loss", "the program that came is not the one that was offered");
    },
    async whyNot({ version }, signal) {
      try {
        const options = { timeout: limits.programVersionMs, killSignal: "SIGKILL", signal } as const;
        const { stdout } = await promisify(execFile)(offered, ["--version"], options);
        const says = stdout.trim().slice(0, 100);
        return says === version ? undefined : `it says that it is version ${says}`;
      } catch (error) {
        if (signal.aborted) throw from(signal.reason);
        return `it does not run on this machine: ${from(error).message}`;
      }
    },
    take() {
      rmSync(`${previous}.new`, { force: true });
      linkSync(executable, `${previous}.new`);
      renameSync(`${previous}.new`, previous);
      renameSync(offered, executable);
      const folder = openSync(dirname(executable), "r");
      fsyncSync(folder); // the names last, also when the power fails
      closeSync(folder);
    },
    discard: () => rmSync(offered, { force: true }),
  };
}
