import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, realpathSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { limits } from "../../shared/limits.ts";

/** A program that tasks can ask for, as it is now. */
export interface FoundTool {
  readonly name: string;
  /** The first that looks like one in what the tool says of itself, such as `24.21.0`; `unknown` when nothing does. */
  readonly version: string;
  /** Of all it says of its version and of its executable: another tool has another one. */
  readonly fingerprint: string;
  /** The executable, with no links in it. */
  readonly path: string;
  /** Changes whenever the executable does; see `stampOf`. */
  readonly stamp: string;
}

/** Programs that are looked for when nobody says which. */
export const usualTools: readonly string[] = [
  ...["node", "npm", "python3", "gcc", "g++", "make", "cmake", "go", "cargo", "rustc", "java", "mvn", "git", "perl"],
];

/** How a tool is asked for its version, where it is not `--version`. */
const versionArguments = new Map([
  ["go", ["version"]],
  ["java", ["-version"]],
]);

/** Finds a tool on a search path as a task would, and asks it who it is; undefined when it is not there. */
export async function probeTool(name: string, path: string): Promise<FoundTool | undefined> {
  const file = findTool(name, path);
  if (file === undefined) return undefined;
  const stamp = stampOf(file);
  const [said, digest] = await Promise.all([askVersion(file, name, path), digestOfFile(file)]);
  if (stamp === undefined || digest === undefined) return undefined; // it went away meanwhile
  const version = /\d+(?:\.\d+)+/.exec(said)?.[0] ?? "unknown";
  const mark = createHash("sha256").update(`${said}\0${digest}`).digest("hex").slice(0, 16);
  return { name, version, fingerprint: `${version}@${mark}`, path: realpathSync(file), stamp };
}

/** The first executable of this name. */
export function findTool(name: string, path: string): string | undefined {
  return path
    .split(":")
    .map((folder) => join(folder, name))
    .find((file) => {
      try {
        // Mostly it is not in a folder: to hear that by an exception would cost more than all the rest.
        if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true) return false;
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false; // not there, or not for us
      }
    });
}

/** Which file a path leads to and when that changed last, as far as the file system tells; undefined when it is gone. */
export function stampOf(file: string): string | undefined {
  try {
    const real = realpathSync.native(file);
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(real, { bigint: true });
    return [real, dev, ino, size, mtimeNs, ctimeNs].join(" ");
  } catch {
    return undefined;
  }
}

/** Whatever it says, on either stream; what cannot say anything is told from others by its digest alone. */
function askVersion(file: string, name: string, path: string): Promise<string> {
  const env = { PATH: path, LANG: "C.UTF-8", HOME: "/nonexistent" };
  const options = { cwd: "/", env, timeout: limits.toolProbeMs, maxBuffer: limits.toolVersionBytes };
  return new Promise((resolve) => {
    execFile(file, versionArguments.get(name) ?? ["--version"], options, (_error, stdout, stderr) =>
      resolve(`${stdout}\n${stderr}`),
    );
  });
}

/** Into one buffer: a stream makes a new one for each piece, and what all tools together leave behind stays 20 MB of ours. */
async function digestOfFile(path: string): Promise<string | undefined> {
  const sha256 = createHash("sha256");
  try {
    await using file = await open(path);
    const buffer = Buffer.allocUnsafeSlow(limits.streamChunkBytes);
    for (;;) {
      const { bytesRead } = await file.read(buffer);
      if (bytesRead === 0) return sha256.digest("hex");
      sha256.update(buffer.subarray(0, bytesRead));
    }
  } catch {
    return undefined; // it may be executable and not readable, or gone
  }
}
