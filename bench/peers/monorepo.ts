import { existsSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { type Figure, must, timed } from "../bench.ts";
import { writeProject } from "../bench-farm.ts";
import { runProgram } from "../run-program.ts";
import { notInstalled, orBroken, peerProgram, peersFolder } from "./peers.ts";

/** A tool that runs one `build` in each package of a repository and remembers what was done. */
interface Tool {
  readonly name: string;
  /** Its arguments to build all packages. */
  readonly args: readonly string[];
  /** What it prints when all of them came from its cache. */
  cachedAll(packages: number): RegExp;
  /** Its settings, by path. */
  files(packages: number): Record<string, string>;
  readonly stop?: readonly string[];
}

const build = (index: number) => `mkdir -p dist && echo ${index} > dist/out.txt`;
const json = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`;

const tools: readonly Tool[] = [
  {
    name: "turbo",
    args: ["run", "build", "--output-logs=none"],
    cachedAll: (packages) => new RegExp(`\\b${packages} cached, ${packages} total`),
    files: (packages) => ({
      "turbo.json": json({ tasks: { build: { inputs: ["src/**"], outputs: ["dist/**"] } } }),
      "package-lock.json": lockFile(packages),
      ...packageFiles(packages, (index) => ({ scripts: { build: build(index) } })),
    }),
  },
  {
    name: "moon",
    args: ["run", ":build"],
    cachedAll: (packages) => new RegExp(`\\b${packages} completed \\(${packages} cached\\)`),
    files(packages) {
      const files: Record<string, string> = { ".moon/workspace.yml": 'projects: ["packages/*"]\ntelemetry: false\n' };
      for (let index = 0; index < packages; index += 1) {
        const task = { script: build(index), inputs: ["src/**/*"], outputs: ["dist/out.txt"] };
        files[`packages/p${index}/moon.yml`] = json({ tasks: { build: task } });
      }
      return files;
    },
  },
  {
    name: "nx",
    args: ["run-many", "-t", "build", "--outputStyle=static"],
    cachedAll: (packages) => new RegExp(`for ${packages} out of ${packages} tasks`),
    files: (packages) => ({
      "nx.json": json({ neverConnectToCloud: true, analytics: false }),
      "package-lock.json": lockFile(packages),
      ...packageFiles(packages, (index) => {
        const target = { command: `cd packages/p${index} && ${build(index)}`, cache: true };
        const io = { inputs: ["{projectRoot}/src/**/*"], outputs: ["{projectRoot}/dist"] };
        return { nx: { targets: { build: { ...target, ...io } } } };
      }),
    }),
    stop: ["daemon", "--stop"],
  },
];

function packageFiles(packages: number, rest: (index: number) => object): Record<string, string> {
  const root = { name: "bench", private: true, packageManager: "npm@11.0.0", workspaces: ["packages/*"] };
  const files: Record<string, string> = { "package.json": json(root) };
  for (let index = 0; index < packages; index += 1) {
    files[`packages/p${index}/package.json`] = json({ name: `p${index}`, version: "1.0.0", ...rest(index) });
  }
  return files;
}

function lockFile(count: number): string {
  const packages: Record<string, object> = { "": { name: "bench", workspaces: ["packages/*"] } };
  for (let index = 0; index < count; index += 1) {
    packages[`packages/p${index}`] = { name: `p${index}`, version: "1.0.0" };
    packages[`node_modules/p${index}`] = { resolved: `packages/p${index}`, link: true };
  }
  return json({ name: "bench", lockfileVersion: 3, requires: true, packages });
}

/** Nothing to do and from nothing, in a repository of as many packages of the same content as ours; git is their index. */
export async function monorepoFigures(scratch: string, packages: number, runs: number): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const tool of tools) {
    const name = `peer: ${tool.name}, ${packages} packages`;
    const program = peerProgram(tool.name, "npm/node_modules/.bin");
    if (program === undefined) figures.push(notInstalled(`${name}, nothing to do`, "ms"));
    else {
      const measurement = { tool, program, name, dir: join(scratch, tool.name), packages, runs };
      figures.push(...(await orBroken(name, () => measure(measurement))));
    }
  }
  return figures;
}

interface Measurement {
  readonly tool: Tool;
  readonly program: string;
  readonly name: string;
  readonly dir: string;
  readonly packages: number;
  readonly runs: number;
}

async function measure({ tool, program, name, dir, packages, runs }: Measurement): Promise<Figure[]> {
  const env = {
    ...process.env,
    DO_NOT_TRACK: "1",
    TURBO_TELEMETRY_DISABLED: "1",
    NX_TUI: "false",
    NX_CACHE_DIRECTORY: join(dir, ".nx/cache"), // by itself it shares one between all copies of a repository
    NO_COLOR: "1",
    CI: "",
  };
  const options = { cwd: dir, env };
  for (let index = 0; index < packages; index += 1) {
    const sources = Array.from({ length: 10 }, (_, n) => [`packages/p${index}/src/f${n}.js`, `// ${index} ${n}\n`]);
    writeProject(dir, Object.fromEntries(sources) as Record<string, string>);
  }
  writeProject(dir, { ".gitignore": "node_modules\ndist\n.turbo\n.nx\n.moon/cache\n", ...tool.files(packages) });
  symlinkSync(join(peersFolder(), "npm/node_modules"), join(dir, "node_modules"));
  await runProgram("git", ["init", "--quiet", "."], options);
  await runProgram("git", ["add", "--all"], options);
  const commit = ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "-m", "bench"];
  await runProgram("git", commit, options);
  try {
    let first = "";
    const coldMs = await timed(async () => {
      first = await runProgram(program, tool.args, options);
    });
    must(!tool.cachedAll(packages).test(first), `${tool.name} took a first run from a cache: ${first}`);
    must(existsSync(join(dir, `packages/p${packages - 1}/dist/out.txt`)), `${tool.name} built nothing`);
    const samples: number[] = [];
    for (let run = 0; run <= runs; run += 1) {
      let said = "";
      const tookMs = await timed(async () => {
        said = await runProgram(program, tool.args, options);
      });
      must(tool.cachedAll(packages).test(said), `${tool.name} did not take all from its cache: ${said}`);
      if (run > 0) samples.push(tookMs); // the first warms up, as with ours
    }
    return [
      { name: `${name}, nothing to do`, unit: "ms", samples, target: "" },
      { name: `${name}, cold`, unit: "ms", samples: [coldMs], target: "" },
    ];
  } finally {
    if (tool.stop !== undefined) await runProgram(program, tool.stop, options);
  }
}
