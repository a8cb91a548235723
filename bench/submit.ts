import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { toBinary } from "@bufbuild/protobuf";
import { submitSource } from "../cli/submit-source.ts";
import { EventSchema } from "../proto/gen/millrace/v1/event_pb.ts";
import { systemClock } from "../shared/clock.ts";
import { openStatCache } from "../shared/stat-cache/sqlite-stat-cache.ts";
import { type Measured, must, timed } from "./bench.ts";
import { type BenchFarm, pipelineOf, withFarm, writeProject } from "./bench-farm.ts";

const tasks = 1_000;
const runs = 9;

/**
 * Submitting a pipeline of 1,000 tasks to a farm without agents: from the first look at the folder to the name of the run,
 * which is given when the plan is on disk. With a source that nobody has planned before, and with the same one again. The
 * floor is what cannot be left out: to write as many bytes as the plan has to the same disk, durably.
 */
export async function submit(): Promise<Measured> {
  return await withFarm({ agents: 0 }, async (farm) => {
    const source = join(farm.scratch, "source");
    const anew: number[] = [];
    const again: number[] = [];
    let run = "";
    for (let round = 0; round <= runs; round += 1) {
      writeSource(source, round);
      const firstMs = await timed(async () => void (run = await submitted(farm, source, `anew-${round}`)));
      await ended(farm, run);
      const secondMs = await timed(async () => void (run = await submitted(farm, source, `again-${round}`)));
      await ended(farm, run);
      if (round === 0) continue; // it fills the caches of the file system and of compiled code
      anew.push(firstMs);
      again.push(secondMs);
    }
    const planBytes = await sizeOfPlan(farm, run);
    const floor = Array.from({ length: runs }, () => writtenMs(join(farm.scratch, "floor"), planBytes));
    return {
      figures: [
        { name: "1,000 tasks, planned anew", unit: "ms", samples: anew, target: "<= 1000" },
        { name: "1,000 tasks, the same source", unit: "ms", samples: again, target: "<= 250" },
        { name: `floor: ${Math.round(planBytes / 1024)} KiB written durably`, unit: "ms", samples: floor, target: "" },
      ],
    };
  });
}

async function submitted({ transport, runs, scratch }: BenchFarm, dir: string, key: string): Promise<string> {
  const statCache = openStatCache({
    ...{ folder: join(scratch, "cache"), source: dir, startedMs: systemClock.nowMs() },
    onProblem: (problem) => process.stderr.write(`${problem.message}\n`),
  });
  const run = await submitSource(
    { transport, runs },
    {
      ...{ dir, run: { pipelinePath: "millrace.yaml", idempotencyKey: key }, statCache },
      signal: new AbortController().signal,
      onUploaded: () => undefined,
    },
  );
  await (await statCache).close();
  return run;
}

/** So that nothing of it is under way when the next one is measured. */
async function ended({ runs }: BenchFarm, run: string): Promise<void> {
  await runs.cancelRun({ run });
  let count = 0;
  for await (const { event } of runs.watchRun({ run })) count += event?.kind.case === "taskFinished" ? 1 : 0;
  must(count === tasks, `${run} ended with ${count} tasks`);
}

async function sizeOfPlan({ runs }: BenchFarm, run: string): Promise<number> {
  for await (const { event } of runs.watchRun({ run })) {
    if (event?.kind.case === "runPlanned") return toBinary(EventSchema, event).byteLength;
  }
  throw new Error(`${run} has no plan`);
}

function writtenMs(file: string, bytes: number): number {
  const data = Buffer.alloc(bytes, 1);
  const start = performance.now();
  const descriptor = openSync(file, "w");
  writeSync(descriptor, data);
  fsyncSync(descriptor);
  closeSync(descriptor);
  return performance.now() - start;
}

/** A task a package, with inputs of its own; another comment makes it another source. */
function writeSource(dir: string, round: number): void {
  const files: Record<string, string> = {};
  const lines: Record<string, string> = {};
  for (let index = 0; index < tasks; index += 1) {
    const folder = `packages/p${index}`;
    files[`${folder}/main.js`] = `// ${index}\n`;
    lines[`p${index}`] = `{ run: "node ${folder}/main.js", inputs: ["${folder}/**"] }`;
  }
  if (round === 0) writeProject(dir, files);
  writeProject(dir, { "millrace.yaml": `# ${round}\n${pipelineOf("submit", lines)}` });
}
