// A launcher is a shell in the group of a task that does not exist yet. It waits for a script that replaces it by the
// task's process.
//
// Moving a process into a control group can wait for the kernel's next grace period: 10 to 20 ms when nothing was moved
// for a while, measured on 2 cores. With a launcher that has been moved before, no task waits for it, and this process
// does not either, as a thread does the moving. The script comes through a pipe: nothing of it, a secret least of all,
// can be read from a list of processes.

import { spawn } from "node:child_process";
import { sandboxed } from "./sandbox.mjs";
import { becoming, exporting, quoted } from "./shell-script.mjs";

/**
 * @typedef {object} Launcher
 * @property {import("./containment.mjs").Group} group
 * @property {import("node:child_process").ChildProcess} child of a session and process group of its own
 * @property {number} pid
 */

/** Launchers that wait while nothing starts. More than one, as tasks often start in pairs. */
const spareLaunchers = 2;

/**
 * Launchers, made before they are needed.
 * @param {string} name for people who look at the list of processes
 * @param {() => import("./containment.mjs").Group} createGroup
 */
export function launchers(name, createGroup) {
  /** @type {Set<Promise<Launcher>>} */
  const spares = new Set();
  let closed = false;

  function refill() {
    while (spares.size < spareLaunchers && !closed) {
      const spare = launch(name, createGroup);
      spares.add(spare);
      spare.then(
        ({ child, group }) =>
          child.once("exit", () => {
            if (spares.delete(spare) && !closed) group.close(); // one that was taken is its taker's
          }),
        () => spares.delete(spare), // why it failed is heard by whoever takes the next one
      );
    }
  }

  return {
    refill,
    /** @returns {Promise<Launcher>} one that nobody else gets; its exit is the taker's to see */
    async take() {
      const [spare] = spares;
      if (spare !== undefined) spares.delete(spare);
      return (await spare?.catch(() => undefined)) ?? (await launch(name, createGroup));
    },
    /** Resolves when no launcher is on its way into a group: those that wait end with their groups. */
    async close() {
      closed = true;
      await Promise.allSettled(spares);
    },
  };
}

/**
 * Throws later, never at once: what cannot be made must not end the runner, in which other tasks run.
 * @param {string} name @param {() => import("./containment.mjs").Group} createGroup @returns {Promise<Launcher>}
 */
async function launch(name, createGroup) {
  const group = createGroup();
  const undo = [() => group.close()];
  try {
    const child = spawn("/bin/sh", ["-s", "--", `${name}: waits for a task`], {
      cwd: "/",
      env: group.environment,
      stdio: ["pipe", "pipe", "ignore"],
      detached: true,
    });
    undo.unshift(() => child.kill("SIGKILL"));
    const { pid, stdin } = child;
    if (pid === undefined) throw await new Promise((resolve) => child.once("error", resolve));
    child.on("error", (error) => console.error(`millrace runner: process ${pid}: ${error.message}`));
    stdin?.on("error", () => {}); // of one that has ended: its exit is what counts
    await group.take(pid);
    // Its exit would never be heard by whoever takes it.
    if (child.exitCode !== null || child.signalCode !== null) throw new Error("a launcher ended while it was made");
    return { group, child, pid };
  } catch (error) {
    for (const step of undo) step();
    throw error;
  }
}

/**
 * Makes a launcher into the process that it was waiting for. When it cannot, it ends as that process would.
 * @param {Launcher} launcher @param {import("./runner-protocol.ts").StartMessage} task
 */
export function become({ child }, task) {
  const { spool, sandbox, environment } = task;
  // In a sandbox, standard output is the channel of the shim.
  const output = sandbox === undefined ? `>>${quoted(spool)} 2>&1` : `2>>${quoted(spool)}`;
  const [folder, program] =
    sandbox === undefined
      ? [task.workingFolder, becoming(task.arguments, environment)]
      : ["/", `exec ${sandboxed(task, sandbox).map(quoted).join(" ")}`];
  // In braces: nothing of it runs where the folder is not, nor when the script breaks off with this process.
  const last = `{ ${exporting(environment)}${program}; }`;
  child.stdin?.end(`{ exec ${output} </dev/null && cd -- ${quoted(folder)} && ${last}; }\n`);
}
