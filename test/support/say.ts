import { writeSync } from "node:fs";

/**
 * Writes a line to standard output at once: what a stream still held in this process would die with it. A pipe that is
 * full is tried again until its reader has caught up.
 */
export function say(line: string): void {
  for (;;) {
    try {
      writeSync(1, `${line}\n`);
      return;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) throw error;
    }
  }
}
