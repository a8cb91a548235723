import { join } from "node:path";
import type { RunResult } from "../test/support/farm.ts";
import { type Figure, type Measured, must, quantile } from "./bench.ts";
import {
  type BenchFarm,
  checkRun,
  eventsOf,
  eventTimeMs,
  pipelineOf,
  processStartsMs,
  sandboxOf,
  withFarm,
  writeProject,
} from "./bench-farm.ts";
import { measureBuildbot } from "./peers/buildbot.ts";
import { notInstalled, orBroken } from "./peers/peers.ts";

const chainLength = 50;
const runs = 5;

/**
 * How fast an idle farm hands out work: chains of no-op tasks, each of which needs the one before, through the command
 * line on real processes, so that the farm is idle at each of them.
 *
 * A task is READY when the last of its needs finished: the time of that TaskFinished, taken by the coordinator when it
 * decides, before it is on disk. Its process is started when the runner has spawned it: the time in the agent's
 * process-starts.log. Both are the wall clock of this one machine, in whole milliseconds.
 */
export async function dispatch(): Promise<Measured> {
  const { figures, sandbox, medianMs } = await ours();
  return { sandbox, figures: [...figures, ...(await orBroken("peer: buildbot", () => peers(medianMs)))] };
}

async function ours() {
  return withFarm({ agents: 2 }, async (farm) => {
    const chains: number[] = [];
    const dispatched: number[] = [];
    let sandbox = "";
    for (let run = 0; run <= runs; run += 1) {
      const project = join(farm.scratch, String(run));
      writeProject(project, { "millrace.yaml": chain(run) });
      const result = await farm.run(project);
      checkRun(result, { tasks: chainLength, cached: false });
      sandbox = sandboxOf(result);
      if (run === 0) continue; // warms up
      chains.push(result.durationMs);
      dispatched.push(...(await dispatchesOf(farm, result)));
    }
    const of = `of ${dispatched.length} dispatches`;
    const figures: Figure[] = [
      {
        name: "READY to process started, p50",
        unit: "ms",
        samples: [quantile(dispatched, 0.5)],
        target: "<= 8",
        note: of,
      },
      {
        name: "READY to process started, p99",
        unit: "ms",
        samples: [quantile(dispatched, 0.99)],
        target: "<= 40",
        note: of,
      },
      { name: "READY to process started", unit: "ms", samples: dispatched, target: "" },
      { name: `${chainLength} chained no-op tasks`, unit: "ms", samples: chains, target: "<= 1000" },
      { name: "a turn, in the mean of a chain", unit: "ms", samples: chains.map((ms) => ms / chainLength), target: "" },
    ];
    return { sandbox, figures, medianMs: quantile(dispatched, 0.5) };
  });
}

async function peers(medianMs: number): Promise<Figure[]> {
  const found = await measureBuildbot(25);
  const name = "peer: buildbot, trigger to process started";
  if (found === undefined) return [notInstalled(name, "ms")];
  const ratio = quantile(found.dispatchMs, 0.5) / medianMs;
  return [
    { name, unit: "ms", samples: found.dispatchMs, target: "" },
    { name: "buildbot's p50 over ours", unit: "times", samples: [ratio], target: ">= 10" },
  ];
}

/** From READY to the start of the process, of each task but the first, whose run has to be planned before. */
async function dispatchesOf(farm: BenchFarm, { run }: RunResult): Promise<number[]> {
  const starts = processStartsMs(farm);
  const finishedMs = new Map<string, number>();
  const executions = new Map<string, string>();
  for (const event of await eventsOf(farm, run)) {
    const { kind } = event;
    if (kind.case === "taskFinished") finishedMs.set(kind.value.task, eventTimeMs(event));
    if (kind.case === "taskSubmitted") executions.set(kind.value.task, kind.value.executionId);
  }
  return Array.from({ length: chainLength - 1 }, (_, index) => {
    const readyMs = finishedMs.get(`s/t${index}`) ?? Number.NaN;
    const startMs = starts.get(executions.get(`s/t${index + 1}`) ?? "") ?? Number.NaN;
    must(startMs >= readyMs, `task ${index + 1} of ${run} was ready at ${readyMs} and started at ${startMs}`);
    return startMs - readyMs;
  });
}

/** Distinct in each run, so that nothing comes from the cache. */
function chain(run: number): string {
  const task = (index: number): [string, string] => {
    const needs = index === 0 ? "" : `needs: [t${index - 1}], `;
    return [`t${index}`, `{ ${needs}run: "true # ${run} ${index}", inputs: [millrace.yaml] }`];
  };
  return pipelineOf("chain", Object.fromEntries(Array.from({ length: chainLength }, (_, index) => task(index))));
}
