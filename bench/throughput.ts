import { join } from "node:path";
import { type Figure, type Measured, must } from "./bench.ts";
import { checkRun, pipelineOf, type Sandbox, sandboxOf, withFarm, writeProject } from "./bench-farm.ts";

const tasks = 1_000;
const runs = 3;

/**
 * How many distinct no-op Actions a farm of 2 agents with 4 slots each gets done in a second, from the submit of the run
 * to its end as the coordinator tells them, all of them ready at once. Coordinator, bus and agents share this machine.
 */
export async function throughput(): Promise<Measured> {
  const figures: Figure[] = [];
  for (const [sandbox, target] of [
    ["none", ">= 300"],
    ["bubblewrap", ">= 150"],
  ] as const) {
    figures.push({ name: `no-op tasks, sandbox ${sandbox}`, unit: "tasks/s", samples: await rates(sandbox), target });
  }
  return { figures };
}

async function rates(sandbox: Sandbox): Promise<number[]> {
  return withFarm({ agents: 2, slots: 4, sandbox }, async (farm) => {
    const samples: number[] = [];
    for (let run = 0; run <= runs; run += 1) {
      const count = run === 0 ? 50 : tasks; // the first warms up
      const project = join(farm.scratch, String(run));
      const all = Array.from({ length: count }, (_, index) => noOp(run, index));
      writeProject(project, { "millrace.yaml": pipelineOf("throughput", Object.fromEntries(all)) });
      const result = await farm.run(project);
      checkRun(result, { tasks: count, cached: false });
      must(sandboxOf(result) === sandbox, `the tasks ran at level ${sandboxOf(result)} and not ${sandbox}`);
      if (run > 0) samples.push((tasks / result.durationMs) * 1000);
    }
    return samples;
  });
}

/** Distinct in each run, so that nothing comes from the cache. */
function noOp(run: number, index: number): [string, string] {
  return [`t${index}`, `{ run: "true # ${run} ${index}", inputs: [millrace.yaml] }`];
}
