import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TestFarm } from "./farm.ts";
import { processesAbout } from "./process-state.ts";

/** The process id of a child of `up`, from its record in the data folder. */
export function pidOf(farm: Pick<TestFarm, "dataDir">, name: string): number {
  return JSON.parse(readFileSync(join(farm.dataDir, "pids", `${name}.json`), "utf8")).pid;
}

/** The processes of an agent's runner: itself, and what gives it a namespace. */
export function runnerOf(farm: Pick<TestFarm, "dataDir">, agent: string): number[] {
  return processesAbout(join(farm.dataDir, "agents", agent.replace(/^agent-/, ""), "containment"))
    .filter(({ command }) => command.includes("runner-process"))
    .map(({ pid }) => pid);
}
