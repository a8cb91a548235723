import { globSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Figure, type Measured, must } from "./bench.ts";
import { checkRun, pipelineOf, withFarm, writeProject } from "./bench-farm.ts";

const settleMs = 8_000;
const windows = 3;
const windowMs = 10_000;

/**
 * What an idle agent costs, in the form that is shipped (`npm run package`): memory as the proportional set size of the
 * agent and its runner together, and processor time from the kernel's accounting of all their threads. The agent has done
 * a few tasks before, as one in use has.
 */
export async function agent(): Promise<Measured> {
  return withFarm({ agents: 1 }, async (farm) => {
    const project = join(farm.scratch, "project");
    const tasks = Array.from({ length: 20 }, (_, n) => [`t${n}`, `{ run: "true # ${n}", inputs: [] }`] as const);
    writeProject(project, { "millrace.yaml": pipelineOf("agent", Object.fromEntries(tasks)) });
    checkRun(await farm.run(project), { tasks: tasks.length, cached: false });
    const pids = processesOf(farm.pid);
    const all = Object.values(pids).flat();
    await delay(settleMs);
    const samples: Record<keyof typeof pids | "together" | "own" | "cpu", number[]> = {
      ...{ agent: [], runner: [], launchers: [], together: [], own: [], cpu: [] },
    };
    for (let window = 0; window < windows; window += 1) {
      const before = sum(all, cpuMs);
      const startMs = performance.now();
      await delay(windowMs);
      samples.cpu.push(((sum(all, cpuMs) - before) / (performance.now() - startMs)) * 100);
      for (const part of ["agent", "runner", "launchers"] as const) samples[part].push(sum(pids[part], pssMb));
      samples.together.push(sum(all, pssMb));
      samples.own.push(sum(all, ownMb));
    }
    const note = "with its launchers";
    const figures: Figure[] = [
      { name: "agent and runner together, PSS", unit: "MB", samples: samples.together, target: "<= 110", note },
      { name: "of which the agent", unit: "MB", samples: samples.agent, target: "" },
      { name: "of which the runner", unit: "MB", samples: samples.runner, target: "" },
      { name: "of which launchers that wait", unit: "MB", samples: samples.launchers, target: "" },
      { name: "of all, what no other process shares", unit: "MB", samples: samples.own, target: "" },
      { name: "processor of all, idle", unit: "%", samples: samples.cpu, target: "<= 0.2", note: "of one processor" },
    ];
    return { figures };
  });
}

/** The agent below the supervisor, the runner below the agent, and shells below that which wait for tasks. */
function processesOf(supervisor: number): Record<"agent" | "runner" | "launchers", number[]> {
  const agentPid = childrenOf(supervisor).find((pid) => argumentsOf(pid).includes("agent"));
  must(agentPid !== undefined, "no agent runs");
  const runnerPid = childrenOf(agentPid).find((pid) =>
    argumentsOf(pid).some((arg) => arg.endsWith("runner-process.js")),
  );
  must(runnerPid !== undefined, "no runner runs");
  return { agent: [agentPid], runner: [runnerPid], launchers: childrenOf(runnerPid) };
}

function childrenOf(pid: number): number[] {
  return globSync(`/proc/${pid}/task/*/children`).flatMap((file) =>
    readFileSync(file, "utf8").split(" ").filter(Boolean).map(Number),
  );
}

function argumentsOf(pid: number): string[] {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
}

/** In megabytes of a million bytes. The proportional size is smaller the more processes run the same program. */
function memoryMb(pid: number, kind: string): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const [, kib] = new RegExp(`^${kind}:\\s+(\\d+) kB$`, "m").exec(rollup) ?? [];
  must(kib !== undefined, `the kernel tells no ${kind}`);
  return (Number(kib) * 1024) / 1e6;
}

function sum(pids: readonly number[], of: (pid: number) => number): number {
  return pids.reduce((total, pid) => total + of(pid), 0);
}

function pssMb(pid: number): number {
  return memoryMb(pid, "Pss");
}

function ownMb(pid: number): number {
  return memoryMb(pid, "Private_Clean") + memoryMb(pid, "Private_Dirty");
}

/** Of all threads; the kernel counts in nanoseconds. */
function cpuMs(pid: number): number {
  let ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
  }
  return ns / 1e6;
}
