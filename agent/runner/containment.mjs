// How everything that a task started is found again and ended. Plain JavaScript without dependencies: it runs in the
// runner process, whose smallness is what makes spawning fast.
//
// A task may leave its process group, its session, its parent and its environment, so only the kernel knows all of it.
// Measured on a hostile task of 8 processes: a cgroup finds 8, a process group none, the environment marker 6.

import { closeSync, existsSync, fstatSync, mkdirSync, readdirSync, rmdirSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { accounted, openAccounting } from "./accounting.mjs";
import { cgroupMount, enter, move, ownCgroup, processesOf, removeGroup, subfolders } from "./cgroup.mjs";
import { field, numberOf, openQuietly, textOf } from "./proc-files.mjs";

/** From a kill to the last process being gone. Beyond it (uninterruptible sleep) the task is reported all the same. */
const goneMs = 5_000;
/** Rounds of looking for processes where the kernel does not do it for us; a respawner is caught by the next round. */
const killRounds = 50;
/** Between two such rounds. */
const roundMs = 5;
/** The variable that marks processes where no cgroup is to be had. */
export const marker = "MILLRACE_CONTAINED";

/**
 * What holds the processes of one task.
 * @typedef {object} Group
 * @property {Record<string, string>} environment what the task's environment needs beside its own
 * @property {(pid: number) => Promise<void>} take makes a process the first one; what it starts is in the group from birth
 * @property {(pid: number) => void} becomesSandbox told when the first process is about to
 * @property {(signal: NodeJS.Signals, isFor: (pid: number) => boolean) => void} signal sends to those processes, once
 * @property {() => Promise<void>} empty resolves when the last process is gone by itself
 * @property {() => Promise<void>} killAll SIGKILL to all; resolves when the last one is gone, or after a bound
 * @property {() => { cpuMs: number, peakMemoryBytes: number, outOfMemory: boolean }} usage zero where not measured
 * @property {() => void} close forgets the group
 */

/** Strongest first. */
const ways = { "cgroup-v2": cgroupV2, "cgroup-v1": cgroupV1Freezer, "best-effort": bestEffort };

/**
 * The strongest way that this machine allows, tried rather than assumed; ends what an earlier start left behind.
 * @param {string} name unique to the agent on this machine
 * @param {string} stateFile keeps where the groups were, for a later start in another place
 * @param {string[]} allowed
 */
export async function openContainment(name, stateFile, allowed = Object.keys(ways)) {
  for (const [way, open] of Object.entries(ways)) {
    if (!allowed.includes(way)) continue;
    const containment = open(name);
    if (containment === undefined) continue;
    const before = textOf(stateFile).trim();
    if (before !== "" && before !== containment.root) await containment.sweep(before);
    await containment.sweep(containment.root);
    writeFileSync(stateFile, containment.root);
    const accounting = openAccounting(name, way === "cgroup-v2" ? ["memory"] : ["memory", "cpuacct"]);
    return {
      ...containment,
      create: (/** @type {string} */ task) => accounted(containment.create(task), accounting.create(task)),
      close: accounting.close,
      feature: `containment:${way}`,
    };
  }
  throw new Error(`no way of containment among ${allowed.join(", ")} works on this machine`);
}

/** @param {string} name */
function cgroupV2(name) {
  const mount = cgroupMount((type) => type === "cgroup2");
  const own = ownCgroup((line) => line.startsWith("0::"));
  if (mount === undefined || own === undefined) return undefined;
  const home = join(mount, own);
  const root = join(home, name);
  try {
    mkdirSync(root, { recursive: true });
    const probe = join(root, "probe");
    mkdirSync(probe, { recursive: true });
    enter(probe);
    enter(home);
    const kills = existsSync(join(probe, "cgroup.kill"));
    rmdirSync(probe);
    if (!kills) return undefined;
  } catch {
    return undefined; // not ours to write: the next way is tried
  }
  return {
    root,
    /** @param {string} task @returns {Group} */
    create(task) {
      const folder = join(root, task);
      mkdirSync(folder, { recursive: true });
      return {
        environment: {},
        take: (pid) => move(folder, pid),
        becomesSandbox() {},
        signal: (signal, isFor) => signalAll(processesOf(folder).filter(isFor), signal),
        empty: () => unpopulated(folder),
        async killAll() {
          if (isUnpopulated(folder)) return; // as after most tasks
          writeFileSync(join(folder, "cgroup.kill"), "1");
          await within(goneMs, unpopulated(folder));
        },
        usage: () => ({
          cpuMs: Math.round(field(join(folder, "cpu.stat"), "usage_usec") / 1000),
          peakMemoryBytes: Number(textOf(join(folder, "memory.peak")) || 0),
          outOfMemory: field(join(folder, "memory.events"), "oom_kill") > 0,
        }),
        close: () => removeGroup(folder),
      };
    },
    async sweep(/** @type {string} */ folder) {
      if (!existsSync(join(folder, "cgroup.kill"))) return;
      writeFileSync(join(folder, "cgroup.kill"), "1");
      await within(goneMs, unpopulated(folder));
      removeGroup(folder);
    },
    killAllNow() {
      if (existsSync(root)) writeFileSync(join(root, "cgroup.kill"), "1");
    },
  };
}

/** @param {string} name */
function cgroupV1Freezer(name) {
  const mount = cgroupMount((type, options) => type === "cgroup" && options.includes("freezer"));
  const own = ownCgroup((line) => line.split(":")[1]?.split(",").includes("freezer") ?? false);
  if (mount === undefined || own === undefined) return undefined;
  const home = join(mount, own);
  const root = join(home, name);
  try {
    mkdirSync(join(root, "probe"), { recursive: true });
    enter(join(root, "probe"));
    enter(home);
    rmdirSync(join(root, "probe"));
  } catch {
    return undefined; // not ours to write: the next way is tried
  }
  // Frozen, none can fork between the listing and the kill.
  const strike = (/** @type {string} */ folder) => {
    writeFileSync(join(folder, "freezer.state"), "FROZEN");
    signalAll(processesOf(folder), "SIGKILL");
    writeFileSync(join(folder, "freezer.state"), "THAWED");
  };
  const killFolder = async (/** @type {string} */ folder) => {
    for (let round = 0; round < killRounds && processesOf(folder).length > 0; round++) {
      strike(folder);
      await pause(roundMs);
    }
  };
  return {
    root,
    /** @param {string} task @returns {Group} */
    create(task) {
      const folder = join(root, task);
      mkdirSync(folder, { recursive: true });
      return {
        environment: {},
        take: (pid) => move(folder, pid),
        becomesSandbox() {},
        signal: (signal, isFor) => signalAll(processesOf(folder).filter(isFor), signal),
        empty: () => repeatUntil(() => processesOf(folder).length === 0),
        killAll: () => killFolder(folder),
        usage: () => ({ cpuMs: 0, peakMemoryBytes: 0, outOfMemory: false }),
        close: () => removeGroup(folder),
      };
    },
    async sweep(/** @type {string} */ folder) {
      for (const group of subfolders(folder)) await killFolder(join(folder, group));
      if (existsSync(folder)) removeGroup(folder);
    },
    killAllNow() {
      for (const group of subfolders(root)) strike(join(root, group));
    },
  };
}

/** Process group, session and a marker in the environment: what leaves all three at once is not found. @param {string} name */
function bestEffort(name) {
  const marked = (/** @type {string} */ value) => processesMarked(`${marker}=${value}`);
  /** @param {() => number[]} find */
  const kill = async (find) => {
    for (let round = 0; round < killRounds; round++) {
      const found = find();
      if (found.length === 0) return;
      signalAll(found, "SIGKILL");
      await pause(roundMs);
    }
  };
  return {
    root: "",
    /** @param {string} task @returns {Group} */
    create(task) {
      let leader = 0;
      const namespace = pidNamespaceBelow();
      const find = () => [
        ...new Set([...marked(`${name}/${task}/`), ...processesOfGroup(leader), ...namespace.processes()]),
      ];
      return {
        environment: { [marker]: `${name}/${task}/` },
        async take(pid) {
          leader = pid;
        },
        becomesSandbox: (pid) => void namespace.look(pid),
        signal: (signal, isFor) => signalAll(find().filter(isFor), signal),
        empty: () => repeatUntil(() => find().length === 0),
        killAll: () => kill(find),
        usage: () => ({ cpuMs: 0, peakMemoryBytes: 0, outOfMemory: false }),
        close: namespace.close,
      };
    },
    sweep: () => kill(() => marked(`${name}/`)),
    killAllNow: () => signalAll(marked(`${name}/`), "SIGKILL"),
  };
}

/** @param {string} folder */
function isUnpopulated(folder) {
  return /^populated 0$/m.test(textOf(join(folder, "cgroup.events"))); // a file that cannot be read says nothing
}

/** Resolves when cgroup v2 says that no live process is left; the kernel tells us, nothing is polled. @param {string} folder */
function unpopulated(folder) {
  const events = join(folder, "cgroup.events");
  return new Promise((resolve) => {
    const check = () => {
      if (!isUnpopulated(folder)) return;
      watcher.close();
      resolve(undefined);
    };
    const watcher = watch(events, check);
    check();
  });
}

/** @param {string} entry `NAME=value`, also as a prefix @returns {number[]} */
function processesMarked(entry) {
  return processIds().filter((pid) =>
    textOf(`/proc/${pid}/environ`)
      .split("\0")
      .some((one) => one.startsWith(entry)),
  );
}

/**
 * The process namespace that a program makes for its child, once there is a child. What is in it ends with the program,
 * by the kernel; we only want to see when.
 *
 * Held open from the first sight to `close`: the kernel gives the number of a namespace that is gone to the next one,
 * and that one is another task's.
 */
function pidNamespaceBelow() {
  /** @type {number | undefined} */
  let held;
  let closed = false;
  return {
    /** @param {number} pid of the program */
    async look(pid) {
      const ours = numberOf("/proc/self/ns/pid");
      for (let round = 0; round < killRounds && !closed; round++) {
        const [child] = textOf(`/proc/${pid}/task/${pid}/children`).split(" ");
        const found = child === undefined || child === "" ? undefined : openQuietly(`/proc/${child}/ns/pid`);
        if (found !== undefined && fstatSync(found).ino !== ours) {
          held = found;
          return;
        }
        if (found !== undefined) closeSync(found); // bubblewrap before it has parted from us
        await pause(roundMs);
      }
    },
    /** @returns {number[]} */
    processes() {
      if (held === undefined) return [];
      const number = fstatSync(held).ino;
      // One that is dead and not reaped yet stays in its namespace, for as long as the machine's init takes.
      return processIds().filter((pid) => numberOf(`/proc/${pid}/ns/pid`) === number && statOf(pid).state !== "Z");
    },
    close() {
      closed = true;
      if (held !== undefined) closeSync(held);
      held = undefined;
    },
  };
}

/** @param {number} group @returns {number[]} */
function processesOfGroup(group) {
  if (group === 0) return [];
  return processIds().filter((pid) => {
    const { state, processGroup, session } = statOf(pid);
    return state !== "Z" && (processGroup === group || session === group);
  });
}

/** What the kernel says of a process; all undefined or NaN when it is gone. @param {number} pid */
function statOf(pid) {
  // After the name in parentheses, which may hold anything: state, parent, group, session.
  const fields = textOf(`/proc/${pid}/stat`).split(") ").at(-1)?.split(" ") ?? [];
  return { state: fields[0], processGroup: Number(fields[2]), session: Number(fields[3]) };
}

function processIds() {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** @param {number[]} pids @param {NodeJS.Signals} signal */
function signalAll(pids, signal) {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // gone meanwhile
    }
  }
}

/** @param {() => boolean} done */
async function repeatUntil(done) {
  while (!done()) await pause(roundMs * 10);
}

/** @param {number} ms @param {Promise<unknown>} promise */
async function within(ms, promise) {
  await Promise.race([promise, pause(ms)]);
}

/** @param {number} ms @returns {Promise<void>} */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
