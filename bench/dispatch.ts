import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startFarm } from "../test/support/farm.ts";
import { at, type BenchReport, report } from "./bench.ts";

const chainLength = 50;
const runs = 5;

/**
 * How fast an idle farm hands out work: chains of no-op tasks, each of which needs the one before, through the command
 * line on real processes. What a chain takes, divided by its tasks, is a whole turn: outcome stored, next task prepared,
 * placed, started, ended and reported.
 */
export async function dispatchReport(): Promise<BenchReport> {
  const farm = await startFarm({ agents: 2 });
  const dir = mkdtempSync(join(tmpdir(), "millrace-bench-"));
  try {
    const chains: number[] = [];
    for (let run = 0; run <= runs; run += 1) {
      const project = join(dir, String(run));
      mkdirSync(project);
      writeFileSync(join(project, "millrace.yaml"), chain(run));
      const { status, durationMs } = await farm.run(project);
      if (status !== "succeeded") throw new Error(`the chain ${status}`);
      if (run > 0) chains.push(durationMs); // the first warms up
    }
    return report("dispatch", [
      { name: `${chainLength} chained no-op tasks`, unit: "ms", samples: chains, target: "<= 1000" },
      { name: "a turn, in the mean", unit: "ms", samples: chains.map((ms) => ms / chainLength), target: "" },
      {
        name: "slowest chain",
        unit: "ms",
        samples: [
          at(
            chains.toSorted((a, b) => a - b),
            1,
          ),
        ],
        target: "",
      },
    ]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
    await farm.stop();
    await farm.remove();
  }
}

/** Distinct in each run, so that nothing comes from the cache. */
function chain(run: number): string {
  const tasks = Array.from({ length: chainLength }, (_, index) => {
    const needs = index === 0 ? "" : `needs: [t${index - 1}], `;
    return `      t${index}: { ${needs}run: "true # ${run} ${index}", inputs: [millrace.yaml] }`;
  });
  return ["name: chain", "stages:", "  s:", "    tasks:", ...tasks, ""].join("\n");
}
