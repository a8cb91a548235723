import { readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { Command } from "commander";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { type ImportedPipeline, importPipeline } from "../../shared/pipeline/import/import-pipeline.ts";
import { defaultPipelinePath } from "../../shared/pipeline/pipeline-path.ts";
import { type StarterPipeline, starterPipeline } from "../../shared/pipeline/starter.ts";
import { type Console, processConsole } from "../output/console.ts";
import { counted } from "../output/format.ts";
import { projectFiles } from "../project-files.ts";

interface InitOptions {
  readonly from?: string;
  readonly json?: boolean;
}

/** `millrace init`. */
export function initCommand(): Command {
  return new Command("init")
    .description(`Write a starter ${defaultPipelinePath} for the project found in a folder. An existing one is kept.`)
    .argument("[dir]", "the folder", ".")
    .option(
      "--from <file>",
      "translate this workflow of GitHub Actions, or .gitlab-ci.yml, and say what has no counterpart",
    )
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      "\nExamples:\n  $ millrace init && millrace run\n  $ millrace init --from .github/workflows/ci.yml && millrace validate",
    )
    .action(init);
}

async function init(dir: string, options: InitOptions): Promise<void> {
  const console = processConsole();
  const file = join(dir, defaultPipelinePath);
  if (options.from !== undefined) return importInto(file, options.from, basename(resolve(dir)), { console, options });
  const starter = starterFor(dir);
  write(file, starter.text);
  if (options.json) return console.writeJson({ file, kind: starter.kind });
  await console.write(`wrote ${file} for a project of the kind ${starter.kind}; run it with \`millrace run ${dir}\`\n`);
}

interface Telling {
  readonly console: Console;
  readonly options: InitOptions;
}

async function importInto(file: string, foreign: string, name: string, { console, options }: Telling): Promise<void> {
  const { kind, text, gaps } = importFile(foreign, name);
  write(file, text);
  const placed = gaps.map((gap) => ({ file: foreign, ...gap }));
  if (options.json) return console.writeJson({ file, kind, gaps: placed });
  for (const gap of placed) console.note(`${gap.file}:${gap.line}: ${gap.message}`);
  const left = gaps.length === 0 ? "all of it" : `all but ${counted(gaps.length, "thing")}, which it names`;
  await console.write(`wrote ${file} from ${kind}: ${left}; look at it, then \`millrace validate ${file}\`\n`);
}

function importFile(foreign: string, name: string): ImportedPipeline {
  let text: string;
  try {
    text = readFileSync(foreign, "utf8");
  } catch (error) {
    throw from(error, `reading ${foreign}`);
  }
  return importPipeline(text, foreign, name);
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text, { flag: "wx" });
  } catch (error) {
    const failure = from(error, `writing ${file}`);
    if (failure.code !== "already_exists") throw failure;
    throw new MillraceError("already_exists", `${file} is there already; check it with \`millrace validate\``);
  }
}

function starterFor(dir: string): StarterPipeline {
  const folder = resolve(dir);
  return starterPipeline(projectFiles(folder), (path) => readText(join(folder, path)), basename(folder));
}

function readText(file: string): string | undefined {
  try {
    const { size } = statSync(file);
    return size > limits.starterFileBytes ? undefined : readFileSync(file, "utf8");
  } catch {
    return undefined; // A link into nowhere, or no right to read it: the starter does without.
  }
}
