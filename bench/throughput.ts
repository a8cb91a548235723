import { join } from "node:path";
import { type Figure, type Measured, must, timed } from "./bench.ts";
import { checkRun, pipelineOf, type Sandbox, sandboxOf, withFarm, writeProject } from "./bench-farm.ts";
import { measureBuildbot } from "./peers/buildbot.ts";
import { notInstalled, orBroken } from "./peers/peers.ts";
import { runProgram } from "./run-program.ts";

const tasks = 600;
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
  figures.push(...(await orBroken("peers: xargs, buildbot", peers)));
  return { figures };
}

async function peers(): Promise<Figure[]> {
  const script = `seq ${tasks} | xargs -P 8 -n 1 sh -c true`;
  const samples: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    samples.push((tasks / (await timed(() => runProgram("sh", ["-c", script], { cwd: "/" })))) * 1000);
  }
  const floor = {
    name: "peer: xargs -P 8 of `sh -c true`",
    unit: "tasks/s",
    samples,
    target: "",
    note: "the spawns alone",
  };
  const name = "peer: buildbot, builds of one no-op step";
  const found = await measureBuildbot(25);
  if (found === undefined) return [floor, notInstalled(name, "tasks/s")];
  return [floor, { name, unit: "tasks/s", samples: [found.buildsPerSecond], target: "" }];
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
