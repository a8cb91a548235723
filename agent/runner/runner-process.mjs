// The runner: a small process that starts tasks, because starting a process from a large heap is slow (a parent of
// 1 GiB takes 45 ms a spawn, this one under 2). It never touches their output: the kernel appends that to a spool file.
// Its messages are described in runner-protocol.ts. It lives no longer than the agent that started it, and takes every
// task with it.
//
// Arguments: <name of its groups> <state file of the containment> <log of process starts> <allowed ways, by comma>

import { spawn } from "node:child_process";
import { accessSync, appendFileSync, closeSync, constants as modes, openSync, readFileSync, rmSync } from "node:fs";
import { constants } from "node:os";
import { openContainment } from "./containment.mjs";
import { become, launchers } from "./launcher.mjs";
import { refuseUnlessRunnable, scriptFileOf, sparing, waitStatus } from "./sandbox.mjs";

const [, , name = "", stateFile = "", startsFile = "", allowed = ""] = process.argv;
process.umask(0o022);

const containment = await openContainment(name, stateFile, allowed === "" ? undefined : allowed.split(","));
/**
 * @typedef {object} Task
 * @property {import("./containment.mjs").Group} group
 * @property {Promise<void> | undefined} killed
 * @property {string} spool
 * @property {number} oomKillsBefore
 * @property {(pid: number) => boolean} isFor whether a signal to the task is for this process
 */
/** @type {Map<string, Task>} */
const tasks = new Map();
/** Of the shim, which says one number: anything beyond is not its own. */
const statusCharacters = 16;
let groups = 0;
const spares = launchers(name, () => containment.create(`${process.pid}-${++groups}`));

process.on("disconnect", async () => {
  containment.killAllNow();
  await spares.close();
  await containment.sweep(containment.root);
  containment.close();
  process.exit(0);
});
// A signal to the whole foreground group (Ctrl-C) is the agent's business: it drains, and then lets go of us.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {});
process.on("message", (message) => void handle(message));
spares.refill();
tell({ type: "ready", feature: containment.feature });

/** @param {any} message */
async function handle(message) {
  switch (message.type) {
    case "start":
      return start(message);
    case "kill":
      return kill(message.id, message.graceMs);
    case "unmount":
      await run("umount", ["-l", message.path]).catch((error) => console.error(`millrace runner: ${error.message}`));
      return tell({ type: "unmounted", id: message.id });
    default:
      console.error(`millrace runner: unknown message ${JSON.stringify(message)}`);
  }
}

/** @param {import("./runner-protocol.ts").StartMessage} task */
async function start(task) {
  const { id } = task;
  /** @type {import("./launcher.mjs").Launcher | undefined} */
  let launcher;
  let step = "setup";
  const oomKillsBefore = oomKills();
  try {
    if (task.mount !== undefined) {
      const { folder, options, target } = task.mount;
      await run("mount", ["-t", "overlay", "overlay", "-o", options, target], folder);
    }
    closeSync(openSync(task.spool, "a", 0o644)); // whoever cannot open it later has nowhere to say so
    step = "exec";
    refuseUnlessRunnable(task);
    step = "setup";
    accessSync(task.workingFolder, modes.X_OK); // the shell's complaint would look like the task's
    launcher = await spares.take();
    if (!process.connected) throw new Error("the agent has gone"); // its end did not see this task
    const { group, child, pid } = launcher;
    const isFor = task.sandbox === undefined ? () => true : sparing(pid);
    tasks.set(id, { spool: task.spool, group, killed: undefined, oomKillsBefore, isFor });
    if (task.sandbox === undefined) child.once("exit", (code, signal) => void ended(id, { code, signal }));
    else listen(id, child);
    become(launcher, task);
    if (task.sandbox !== undefined) group.becomesSandbox(pid);
    if (task.executionId !== "")
      appendFileSync(startsFile, `${new Date().toISOString()} ${task.executionId} ${task.attempt} ${pid}\n`);
    tell({ type: "started", id, pid });
    setImmediate(spares.refill);
  } catch (error) {
    tasks.delete(id);
    await launcher?.group.killAll(); // of a process whose start could not be written down
    launcher?.group.close();
    tell({ type: "failed", id, step, code: error.code ?? "", message: error.message });
  }
}

/**
 * Waits for a sandbox to end, and for what its shim says of the task.
 * @param {string} id @param {import("node:child_process").ChildProcess} child
 */
function listen(id, child) {
  let said = "";
  child.stdout?.on("data", (data) => {
    said = (said + data).slice(0, statusCharacters);
  });
  child.once("close", (code, signal) => {
    const status = waitStatus(said);
    if (status === undefined && code !== null && code < 128) {
      // Neither the task nor a kill: the sandbox itself did not come about. Its complaint is in the spool.
      void ended(id, undefined);
    } else if (status === undefined) {
      void ended(id, { code: null, signal: signal ?? "SIGKILL" });
    } else if ("code" in status) {
      void ended(id, { code: status.code, signal: null });
    } else {
      const [name] = Object.entries(constants.signals).find(([, number]) => number === status.signalNumber) ?? [];
      void ended(
        id,
        name === undefined ? { code: 128 + status.signalNumber, signal: null } : { code: null, signal: name },
      );
    }
  });
}

/**
 * The first process has ended: what it left behind goes too, before anybody is told.
 * @param {string} id @param {{ code: number | null, signal: string | null } | undefined} end undefined when nothing ran
 */
async function ended(id, end) {
  const task = tasks.get(id);
  if (task === undefined) return;
  await (task.killed ?? task.group.killAll());
  const { outOfMemory, ...usage } = task.group.usage();
  tasks.delete(id);
  task.group.close();
  rmSync(scriptFileOf(task.spool), { force: true });
  if (end === undefined) {
    const message = "the sandbox could not be set up; its output says why";
    tell({ type: "failed", id, step: "setup", code: "", message });
    return;
  }
  // Without a memory controller of its own: a SIGKILL that was not ours, while the machine's count of such kills rose.
  const starved =
    outOfMemory || (end.signal === "SIGKILL" && task.killed === undefined && oomKills() > task.oomKillsBefore);
  tell({ type: "ended", id, ...end, ...usage, outOfMemory: starved });
}

/** SIGTERM to all, and SIGKILL to all that are left after the grace. */
function kill(/** @type {string} */ id, /** @type {number} */ graceMs) {
  const task = tasks.get(id);
  if (task === undefined) return;
  const { group, killed, isFor } = task;
  if (graceMs <= 0) {
    task.killed = group.killAll();
    return;
  }
  if (killed !== undefined) return;
  group.signal("SIGTERM", isFor);
  let timer;
  const grace = new Promise((resolve) => {
    timer = setTimeout(resolve, graceMs);
  });
  task.killed = Promise.race([group.empty(), grace]).then(() => {
    clearTimeout(timer);
    return group.killAll();
  });
}

/** Says it to the agent; one that is gone needs no telling, and its going is heard as `disconnect`. @param {object} message */
function tell(message) {
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}

/** How often the kernel has ended a process for want of memory since the machine started. */
function oomKills() {
  return Number(/^oom_kill (\d+)$/m.exec(readFileSync("/proc/vmstat", "utf8"))?.[1] ?? 0);
}

/** Runs a tool to its end. @param {string} file @param {string[]} args @param {string} [cwd] @returns {Promise<void>} */
function run(file, args, cwd) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd, stdio: ["ignore", "ignore", "pipe"] });
    let complaint = "";
    child.stderr.on("data", (data) => {
      complaint = (complaint + data).slice(0, 1000);
    });
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0) resolve();
      else reject(new Error(`${file} ${args.join(" ")}: exit code ${code}: ${complaint.trim()}`));
    });
  });
}
