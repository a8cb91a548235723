// What is put around a task's process at the level `bubblewrap`: namespaces of its own, a file system in which only its
// own folders can be written to, and between bubblewrap and the task a shim that tells how the task ended.
//
//   bwrap (outside) ── bwrap (process 1) ── awk, the shim (process 2) ── the task
//
// - bubblewrap itself says 139 for both `exit 139` and SIGSEGV. awk is in every POSIX system and its `system()` gives
//   256 + n for signal n, so the shim prints the one from the other, on a channel that the task does not have.
// - The task is never process 1, which ignores SIGTERM and cannot die of SIGSEGV.
// - Every process in the namespace ends when the runner does, also by kill -9: no process of ours must live for that.

import { accessSync, constants, statSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { marker } from "./containment.mjs";
import { textOf } from "./proc-files.mjs";
import { becoming, quoted } from "./shell-script.mjs";

/** The namespaces that a task does not share with the machine; it does share the network, unless it must not. */
const namespaces = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent"];
/** Prints the wait status of a command as awk sees it: an exit code, or 256 and the signal's number. */
const shim = "BEGIN { print system(ARGV[1]) }";
/** Ours and not those on the PATH of a task; empty where they are not there, and then the probe fails. */
const [bubblewrap, awk] = ["bwrap", "awk"].map((program) => {
  const folders = (process.env.PATH ?? "").split(":");
  return folders.map((folder) => resolve("/", folder, program)).find(isFile) ?? "";
});
/** One argument of a program cannot be longer than 128 KiB on Linux; a script that is goes into a file. */
const argumentBytesMax = 100_000;
/** Folders that every program may use for what is temporary; each task has its own behind them. */
const temporaryFolders = ["/tmp", "/var/tmp"];

/**
 * The command that runs a task in its sandbox. Its standard output is the channel of the shim (see `waitStatus`), its
 * standard error is that of the task, and takes the task's standard output too.
 * @param {import("./runner-protocol.ts").StartMessage} task @param {import("./runner-protocol.ts").Sandbox} sandbox
 * @returns {string[]}
 */
export function sandboxed(task, { hidden, readable, writable, temporary, network }) {
  const binds = writable.flatMap((path) => ["--bind", path, path]);
  // The process namespace finds what the marker would.
  const script = `exec >&2; unset ${marker}; ${becoming(task.arguments, task.environment)}`;
  const long = Buffer.byteLength(script) > argumentBytesMax;
  const scriptFile = scriptFileOf(task.spool);
  if (long) writeFileSync(scriptFile, script);
  return [
    bubblewrap,
    ...namespaces,
    ...(network ? [] : ["--unshare-net"]),
    ...["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"],
    ...temporaryFolders.filter(isFolder).flatMap((path) => ["--bind", temporary, path]),
    ...hidden.flatMap((path) => ["--tmpfs", path]),
    ...readable.flatMap(readOnly),
    ...binds,
    ...(long ? readOnly(scriptFile) : []),
    ...hidden.flatMap((path) => ["--remount-ro", path]),
    ...["--chdir", task.workingFolder, "--", awk, shim, long ? `. ${quoted(scriptFile)}` : script],
  ];
}

/** Where the script of a task is when it is too long for an argument. @param {string} spool */
export const scriptFileOf = (spool) => `${spool}.command`;

/**
 * How the task ended, from what the shim said; undefined when it said nothing, because it was killed itself.
 * @param {string} said @returns {{ code: number } | { signalNumber: number } | undefined}
 */
export function waitStatus(said) {
  const number = Number.parseInt(said, 10);
  if (!Number.isSafeInteger(number) || number < 0) return undefined;
  // Some kinds of awk add another 256 when there was a core dump.
  return number < 256 ? { code: number } : { signalNumber: number % 256 };
}

/**
 * Refuses a program that cannot be run, since a shell's 127 could be the program's own.
 * @param {import("./runner-protocol.ts").StartMessage} task
 */
export function refuseUnlessRunnable({ arguments: words, environment, workingFolder }) {
  const [program = ""] = words;
  // A shell would leave it out, and run something else.
  if ([...words, ...Object.entries(environment).flat()].some((text) => text.includes("\0")))
    throw new Error("an argument or a variable of its environment holds a zero byte");
  const folders = program.includes("/") ? [""] : (environment.PATH ?? "/usr/bin:/bin").split(":");
  let code = "ENOENT";
  for (const folder of folders) {
    const path = resolve(workingFolder, folder, program);
    if (!isFile(path)) continue;
    try {
      accessSync(path, constants.X_OK);
      return;
    } catch {
      code = "EACCES"; // another folder may have one that can be run
    }
  }
  throw Object.assign(new Error(`spawn ${program} ${code}`), { code });
}

/** Whether a signal is for this process: bubblewrap and the shim must live to tell how the task ended. @param {number} outside */
export function sparing(outside) {
  return (/** @type {number} */ pid) => {
    if (pid === outside) return false;
    // `NSpid: 4711 2`: its number here, and in the namespace below.
    const inside = /^NSpid:\s+\d+\s+(\d+)/m.exec(textOf(`/proc/${pid}/status`))?.[1];
    return inside === undefined || Number(inside) > 2;
  };
}

/** @param {string} path */
const readOnly = (path) => ["--ro-bind", path, path];

/** @param {string} path */
const isFolder = (path) => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

/** @param {string} path */
function isFile(path) {
  try {
    return statSync(path).isFile();
  } catch {
    return false; // not there, or in a place that cannot be looked into
  }
}
