import { join } from "node:path";
import { type Figure, type Measured, must, quantile } from "./bench.ts";
import { type BenchFarm, checkRun, pipelineOf, sandboxOf, withFarm, writeProject } from "./bench-farm.ts";

const lines = 1_000_000;
const runs = 3;
/** Lines of the steady task and the time between two of them. */
const steady = { lines: 600, everyMs: 5 } as const;

/**
 * The output of one task to one follower of `ReadLog`: a flood of a million lines of 100 bytes, from the first to the
 * last byte that the follower gets; and a steady trickle, each line of which says when it was written, so that the
 * follower can tell its age on arrival. Writer and follower read the wall clock of this one machine.
 */
export async function logs(): Promise<Measured> {
  return withFarm({ agents: 1, slots: 2 }, async (farm) => {
    const rates: number[] = [];
    const lags: number[] = [];
    let sandbox = "";
    for (let run = 0; run <= runs; run += 1) {
      const project = join(farm.scratch, String(run));
      writeProject(project, {
        "flood.mjs": floodSource,
        "trickle.mjs": trickleSource,
        "millrace.yaml": pipelineOf("logs", {
          flood: `{ run: "node flood.mjs # ${run}", inputs: ["*.mjs"], cache: false }`,
          trickle: `{ needs: [flood], run: "node trickle.mjs # ${run}", inputs: ["*.mjs"], cache: false }`,
        }),
      });
      const { run: name } = JSON.parse((await farm.cli(["run", project, "--detach", "--json"])).stdout) as {
        run: string;
      };
      const rate = await followFlood(farm, name);
      const ages = await followTrickle(farm, name);
      const shown = await farm.cli(["show", name, "--json"]);
      const result = JSON.parse(shown.stdout) as Parameters<typeof checkRun>[0];
      checkRun(result, { tasks: 2, cached: false });
      sandbox = sandboxOf(result);
      if (run === 0) continue; // warms up
      rates.push(rate);
      lags.push(...ages);
    }
    const of = `of ${lags.length} lines`;
    const figures: Figure[] = [
      { name: `${lines} lines of 100 B to a follower`, unit: "lines/s", samples: rates, target: ">= 150000" },
      { name: "write to follower, p50", unit: "ms", samples: [quantile(lags, 0.5)], target: "", note: of },
      { name: "write to follower, p95", unit: "ms", samples: [quantile(lags, 0.95)], target: "<= 150", note: of },
      { name: "write to follower, p99", unit: "ms", samples: [quantile(lags, 0.99)], target: "", note: of },
    ];
    return { sandbox, figures };
  });
}

async function followFlood({ logs: service }: BenchFarm, run: string): Promise<number> {
  let bytes = 0;
  let firstMs = 0;
  let lastMs = 0;
  for await (const { data, offset } of service.readLog({ run, task: "s/flood", follow: true })) {
    if (data.byteLength === 0) continue;
    must(offset === BigInt(bytes), `the log has a gap at ${bytes}: ${offset} came`);
    if (bytes === 0) firstMs = performance.now();
    bytes += data.byteLength;
    lastMs = performance.now();
  }
  must(bytes === lines * 100, `the log has ${bytes} bytes and not ${lines * 100}`);
  return (lines / (lastMs - firstMs)) * 1000;
}

async function followTrickle({ logs: service }: BenchFarm, run: string): Promise<number[]> {
  const ages: number[] = [];
  let rest = "";
  for await (const { data } of service.readLog({ run, task: "s/trickle", follow: true })) {
    const nowMs = Date.now();
    const texts = (rest + Buffer.from(data).toString("latin1")).split("\n");
    rest = texts.pop() ?? "";
    for (const line of texts) ages.push(nowMs - Number(line.slice(0, 13)));
  }
  must(ages.length === steady.lines, `${ages.length} of ${steady.lines} lines came`);
  return ages;
}

/** Writes synchronously, a thousand lines a call. */
const floodSource = `import { writeSync } from "node:fs";
const line = "x".repeat(99) + "\\n";
for (let left = ${lines}; left > 0; left -= 1000) writeSync(1, line.repeat(1000));
`;

const trickleSource = `import { writeSync } from "node:fs";
let left = ${steady.lines};
const timer = setInterval(() => {
  writeSync(1, Date.now() + " " + "x".repeat(85) + "\\n");
  left -= 1;
  if (left === 0) clearInterval(timer);
}, ${steady.everyMs});
`;
