import { hash } from "node:crypto";
import { readFileSync } from "node:fs";
import { from } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { writePrivateFile } from "../shared/private-file.ts";
import { version } from "../shared/version.ts";

/**
 * Pipeline files that had no problems when they were last parsed, so that the next run need not parse them: that and
 * loading the parser was a third of the time of an unchanged run. A wrong answer harms nobody: the coordinator parses
 * every file itself and refuses with the same problems.
 */
export interface KnownPipelines {
  has(text: string): boolean;
  /** @throws MillraceError when it cannot be written. */
  add(text: string): void;
}

/** @param file made when something is added; the hashes in it are one a line, the last added first. */
export function knownPipelines(file: string): KnownPipelines {
  const hashes = () => {
    try {
      return readFileSync(file, "utf8").split("\n");
    } catch {
      return []; // Not there yet, or not ours to read: nothing is known.
    }
  };
  return {
    has: (text) => hashes().includes(hashOf(text)),
    add(text) {
      const known = [hashOf(text), ...hashes().filter((other) => other !== hashOf(text))];
      try {
        writePrivateFile(file, known.slice(0, limits.knownPipelines).join("\n"));
      } catch (error) {
        throw from(error, "remembering that the pipeline file has no problems");
      }
    },
  };
}

/** Another release may find other problems. */
function hashOf(text: string): string {
  return hash("sha256", `${version}\n${text}`);
}
