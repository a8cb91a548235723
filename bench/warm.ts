import { mkdtempSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunResult } from "../test/support/farm.ts";
import { type Figure, type Measured, must, timed } from "./bench.ts";
import { type BenchFarm, checkRun, pipelineOf, sandboxOf, withFarm, writeProject } from "./bench-farm.ts";
import { bazelFigures } from "./peers/bazel.ts";
import { monorepoFigures } from "./peers/monorepo.ts";
import { orBroken } from "./peers/peers.ts";

const sizes = [
  { packages: 100, target: "<= 250", runs: 9 },
  { packages: 1_000, target: "<= 800", runs: 5 },
] as const;

/**
 * An unchanged pipeline, everything in the cache: the whole life of `millrace run`, from the start of the process to its
 * end. One task a package, each with inputs and an output of its own.
 */
export async function warm(): Promise<Measured> {
  const { sandbox, figures } = await ours();
  const scratch = mkdtempSync(join(tmpdir(), "millrace-bench-"));
  try {
    const monorepos = await monorepoFigures(scratch, 100, 5);
    const bazel = await orBroken("peer: bazel", () => bazelFigures(scratch));
    return { sandbox, figures: [...figures, ...monorepos, ...bazel] };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function ours() {
  return withFarm({ agents: 2, slots: 2 }, async (farm) => {
    const figures: Figure[] = [];
    let sandbox = "";
    for (const { packages, target, runs } of sizes) {
      const project = join(farm.scratch, String(packages));
      writeWorkspace(project, packages);
      let first: RunResult | undefined;
      const coldMs = await timed(async () => {
        first = await farm.run(project);
      });
      must(first !== undefined, "the first run gave nothing");
      checkRun(first, { tasks: packages, cached: false });
      sandbox = sandboxOf(first);
      const samples: number[] = [];
      const started = farm.processStarts().length;
      for (let run = 0; run <= runs; run += 1) {
        const tookMs = await timed(async () => checkQuiet(await farm.cli(["run", project, "--quiet"])));
        if (run > 0) samples.push(tookMs); // the first fills the caches of the file system and of compiled code
      }
      checkRun(await farm.run(project), { tasks: packages, cached: true });
      must(farm.processStarts().length === started, "an unchanged run started processes");
      figures.push({ name: `${packages} tasks, nothing to do`, unit: "ms", samples, target });
      figures.push({ name: `${packages} tasks, cold`, unit: "ms", samples: [coldMs], target: "" });
    }
    figures.push(await floor(farm));
    return { sandbox, figures };
  });
}

function checkQuiet({ status, stderr }: { readonly status: number | null; readonly stderr: string }): void {
  must(status === 0, `an unchanged run ended with ${status}: ${stderr}`);
}

/** What of it is the start of the command line, its connection and one call. */
async function floor(farm: BenchFarm): Promise<Figure> {
  const samples: number[] = [];
  for (let run = 0; run < 5; run += 1) {
    samples.push(
      await timed(async () => {
        const { status } = await farm.cli(["runs"]);
        must(status === 0, "`millrace runs` failed");
      }),
    );
  }
  return { name: "`millrace runs`, for comparison", unit: "ms", samples, target: "" };
}

/** As old as a checkout usually is. Each package has ten sources and a build that writes one file. */
function writeWorkspace(dir: string, packages: number): void {
  const tasks: Record<string, string> = {};
  const agedS = Date.now() / 1000 - 3_600;
  for (let index = 0; index < packages; index += 1) {
    const folder = `packages/p${index}`;
    const sources = Array.from(
      { length: 10 },
      (_, n) => [`${folder}/src/f${n}.js`, `// ${index} of ${packages}, ${n}\n`] as const,
    );
    const run = `mkdir -p ${folder}/dist && echo ${index} > ${folder}/dist/out.txt`;
    const files = Object.fromEntries(sources);
    writeProject(dir, files);
    for (const path of Object.keys(files)) utimesSync(join(dir, path), agedS, agedS);
    tasks[`p${index}`] =
      `{ run: "${run}", inputs: ["${folder}/**"], outputs: { out${index}: ${folder}/dist/out.txt } }`;
  }
  writeProject(dir, { "millrace.yaml": pipelineOf("warm", tasks) });
  utimesSync(join(dir, "millrace.yaml"), agedS, agedS);
}
