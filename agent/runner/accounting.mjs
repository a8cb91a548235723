// What the processes of a task cost, where controllers of control groups version 1 can be had: many machines have them
// beside a version 2 tree that has none. The groups are made below the one this process is in, so every limit that was
// put on us holds for tasks too.

import { existsSync, mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { cgroupMount, enter, move, ownCgroup, removeGroup } from "./cgroup.mjs";
import { field, textOf } from "./proc-files.mjs";

/**
 * The account of one task.
 * @typedef {object} Account
 * @property {(pid: number) => Promise<void>} take moves a process here: from then on it counts, and what it starts
 * @property {() => Partial<ReturnType<import("./containment.mjs").Group["usage"]>>} usage only what is measured
 * @property {() => void} close when no process of the task is left
 */

/** What each controller tells of a group. @type {Record<string, (folder: string) => ReturnType<Account["usage"]>>} */
const controllers = {
  memory: (folder) => ({
    peakMemoryBytes: Number(textOf(join(folder, "memory.max_usage_in_bytes")) || 0),
    outOfMemory: field(join(folder, "memory.oom_control"), "oom_kill") > 0,
  }),
  cpuacct: (folder) => ({ cpuMs: Math.round(Number(textOf(join(folder, "cpuacct.usage")) || 0) / 1e6) }),
};

/**
 * Accounts by the controllers that this machine lets us use, tried rather than assumed.
 * @param {string} name unique to the agent on this machine; groups of this name that an earlier start left are removed,
 * so what was in them must have ended
 * @param {string[]} wanted names of controllers
 */
export function openAccounting(name, wanted) {
  const open = wanted.flatMap((controller) => {
    const usage = controllers[controller];
    const home = ownGroup(controller);
    return usage === undefined || home === undefined || !usable(home, name) ? [] : [{ home, usage }];
  });
  return {
    /** @param {string} task @returns {Account} */
    create(task) {
      const groups = open.map(({ home, usage }) => ({ home, usage, folder: join(home, name, task) }));
      for (const { folder } of groups) mkdirSync(folder, { recursive: true });
      return {
        async take(pid) {
          await Promise.all(groups.map(({ folder }) => move(folder, pid)));
        },
        usage: () => Object.assign({}, ...groups.map(({ usage, folder }) => usage(folder))),
        close() {
          for (const { folder } of groups) removeGroup(folder);
        },
      };
    },
    /** When no task is left. */
    close() {
      for (const { home } of open) removeGroup(join(home, name));
    },
  };
}

/** The group that this process is in. @param {string} controller */
function ownGroup(controller) {
  const mount = cgroupMount((type, options) => type === "cgroup" && options.includes(controller));
  const own = ownCgroup((line) => line.split(":")[1]?.split(",").includes(controller) ?? false);
  return mount === undefined || own === undefined ? undefined : join(mount, own);
}

/** @param {string} home @param {string} name */
function usable(home, name) {
  const root = join(home, name);
  try {
    if (existsSync(root)) removeGroup(root);
    const probe = join(root, "probe");
    mkdirSync(probe, { recursive: true });
    enter(probe);
    enter(home);
    rmdirSync(probe);
    return true;
  } catch {
    return false; // not ours to write: this is not measured here
  }
}

/**
 * A group whose usage comes from an account as well.
 * @param {import("./containment.mjs").Group} group @param {Account} account @returns {import("./containment.mjs").Group}
 */
export function accounted(group, account) {
  return {
    ...group,
    async take(pid) {
      await Promise.all([group.take(pid), account.take(pid)]);
    },
    usage: () => ({ ...group.usage(), ...account.usage() }),
    close() {
      account.close();
      group.close();
    },
  };
}
