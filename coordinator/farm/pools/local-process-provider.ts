import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readdirSync, readFileSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { Clock } from "../../../shared/clock.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import { poolLimits } from "../../../shared/limits/pools.ts";
import { limits } from "../../../shared/limits.ts";
import { makeFolder } from "../../../shared/make-folder.ts";
import { removeTree } from "../../../shared/remove-tree.ts";
import { isAlive, processIn } from "../../../shared/running-process.ts";
import type { AgentOrder, NewAgent, PoolProvider } from "./pool-provider.ts";

export interface LocalProcessOptions {
  /** Of this pool; each agent has a folder in it, which goes with the agent. */
  readonly folder: string;
  /** How `millrace` is started: the program, and the arguments before the subcommand. */
  readonly self: { readonly file: string; readonly args: readonly string[] };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Folders that tasks in a sandbox do not see. */
  readonly hide: readonly string[];
  readonly clock: Clock;
}

/**
 * Writes down which process it is and says so, then becomes the agent. Whoever is killed in between: no process is without its
 * file, and none is taken for absent that is about to write it.
 */
const becomeAgent =
  'cat /proc/sys/kernel/random/boot_id /proc/$$/stat > "$0.new" && mv "$0.new" "$0" && echo >&3 && exec "$@" 3>&-';

/**
 * Agents as processes of this machine. They are no children that end with us: a coordinator that was killed finds them
 * again by their folders, and what they run goes on. One that stops on purpose ends them. Needs /proc.
 */
export function localProcessProvider(options: LocalProcessOptions): PoolProvider {
  const { folder, clock } = options;
  const folderOf = (id: string): string => join(folder, id);

  function names(): string[] {
    try {
      return readdirSync(folder);
    } catch (error) {
      if (from(error).code === "not_found") return [];
      throw from(error, "looking for local agents");
    }
  }

  async function start(order: AgentOrder, agent: NewAgent): Promise<void> {
    const own = folderOf(agent.id);
    if (pidIn(own) !== undefined) return;
    makeFolder(own);
    const output = openSync(join(own, "agent.log"), "a", 0o600);
    try {
      const command = [options.self.file, ...options.self.args, ...agentArguments(order, agent.id, own, options.hide)];
      const child = spawn("/bin/sh", ["-c", becomeAgent, join(own, "process"), ...command], {
        cwd: own,
        env: { ...settingsLess(options.env), MILLRACE_TOKEN: agent.token },
        stdio: ["ignore", output, output, "pipe"],
        detached: true,
      });
      const said = child.stdio[3] as Readable;
      const [word] = (await Promise.race([once(said, "data"), once(said, "end"), once(child, "error")])) as unknown[];
      child.unref();
      said.destroy();
      if (word instanceof Error) throw word;
      if (word === undefined) throw new MillraceError("unavailable", `it ended at once; see ${own}/agent.log`);
    } finally {
      closeSync(output);
    }
  }

  async function end(id: string): Promise<void> {
    const own = folderOf(id);
    for (const [signal, graceMs] of [
      ["SIGTERM", limits.childStopMs],
      ["SIGKILL", limits.killGraceMs],
    ] as const) {
      const pid = pidIn(own);
      if (pid === undefined) break;
      send(signal === "SIGKILL" ? -pid : pid, signal);
      const deadlineMs = clock.monotonicMs() + graceMs;
      while (pidIn(own) === pid && clock.monotonicMs() < deadlineMs) await pause(clock);
    }
    const left = pidIn(own);
    if (left !== undefined) throw new MillraceError("internal", `process ${left} of ${id} outlives SIGKILL`);
    await removeTree(own);
  }

  return {
    async add(order) {
      for (const agent of order.agents) {
        await start(order, agent).catch((error: unknown) => {
          throw from(error, `starting ${agent.id}`);
        });
      }
    },
    async remove(ids) {
      const ends = await Promise.allSettled(ids.map(end));
      for (const one of ends) if (one.status === "rejected") throw from(one.reason, "ending local agents");
    },
    async list() {
      return names().filter((id) => {
        boundLog(join(folderOf(id), "agent.log"));
        return pidIn(folderOf(id)) !== undefined;
      });
    },
    async close() {
      await this.remove(names(), new AbortController().signal);
    },
  };
}

function agentArguments(order: AgentOrder, id: string, own: string, hide: readonly string[]): string[] {
  return [
    ...["agent", "--coordinator", order.coordinator, "--name", id, "--pool", order.pool],
    ...["--slots", String(order.slots), "--data", join(own, "data"), "--json"],
    ...Object.entries(order.labels).flatMap(([name, value]) => ["--label", `${name}=${value}`]),
    ...hide.flatMap((path) => ["--hide", path]),
    ...(order.ephemeral ? ["--ephemeral"] : []),
  ];
}

/** The coordinator's own settings are not the agent's. How deep it is inside of other farms is, and which tools are looked for. */
function settingsLess(env: LocalProcessOptions["env"]): NodeJS.ProcessEnv {
  const entries = Object.entries(env).filter(([name]) => !/^MILLRACE_(?!(NESTING|ONLY_NAMED_TOOLS)$)/.test(name));
  return Object.fromEntries(entries);
}

/** The process of the agent in this folder, while it lives. */
function pidIn(folder: string): number | undefined {
  const [bootId = "", stat = ""] = readOrEmpty(join(folder, "process")).split("\n");
  const written = processIn(stat, bootId);
  return written !== undefined && isAlive(written) ? written.pid : undefined;
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // It is not there (yet, or any more).
  }
}

/** The agent appends, so it goes on at the new beginning. */
function boundLog(path: string): void {
  const sizeBytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (sizeBytes > limits.childLogBytes) truncateSync(path);
}

function send(target: number, signal: NodeJS.Signals): void {
  try {
    process.kill(target, signal);
  } catch (error) {
    // It ended by itself in the meantime.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

function pause(clock: Clock): Promise<void> {
  return new Promise((resolve) => void clock.after(poolLimits.processCheckMs, resolve));
}
