import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { Command, Option } from "commander";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { type ImportedPipeline, importPipeline } from "../../shared/pipeline/import/import-pipeline.ts";
import { pipelineJsonSchema } from "../../shared/pipeline/json-schema/pipeline-json-schema.ts";
import { pipelineTypes } from "../../shared/pipeline/json-schema/typescript.ts";
import { defaultPipelinePath, defaultTypeScriptPath } from "../../shared/pipeline/pipeline-path.ts";
import { type StarterPipeline, starterPipeline } from "../../shared/pipeline/starter.ts";
import { starterTypeScript, typesPath } from "../../shared/pipeline/starter-typescript.ts";
import { requireFolder, unreadableFile } from "../named-file.ts";
import { type Console, processConsole } from "../output/console.ts";
import { counted } from "../output/format.ts";
import { projectFiles } from "../project-files.ts";

interface InitOptions {
  readonly from?: string;
  readonly ts?: boolean;
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
    .addOption(
      new Option("--ts", `write ${defaultTypeScriptPath} instead, and the types for editors to ${typesPath}`).conflicts(
        ["from"],
      ),
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
  requireFolder(dir);
  const file = join(dir, defaultPipelinePath);
  requireNoOther(dir, options.ts === true ? defaultPipelinePath : defaultTypeScriptPath);
  if (options.from !== undefined) return importInto(file, options.from, basename(resolve(dir)), { console, options });
  const starter = starterFor(dir);
  if (options.ts) return initTypeScript(dir, starter, { console, options });
  write(file, starter.text);
  if (options.json) return console.writeJson({ file, kind: starter.kind });
  await console.write(`wrote ${file} for a project of the kind ${starter.kind}; run it with \`millrace run ${dir}\`\n`);
}

async function initTypeScript(
  dir: string,
  { kind, text }: StarterPipeline,
  { console, options }: Telling,
): Promise<void> {
  const [file, types] = [join(dir, defaultTypeScriptPath), join(dir, typesPath)];
  write(file, starterTypeScript(text));
  mkdirSync(dirname(types), { recursive: true });
  writeFileSync(types, pipelineTypes(pipelineJsonSchema())); // an older version's is replaced: nobody edits it
  if (options.json) return console.writeJson({ file, types, kind });
  await console.write(
    `wrote ${file} for a project of the kind ${kind}, and ${types}; run it with \`millrace run ${dir}\`\n`,
  );
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
    throw unreadableFile(error, foreign);
  }
  return importPipeline(text, foreign, name);
}

/** One that is there already would be an error of every run. */
function requireNoOther(dir: string, other: string): void {
  const file = join(dir, other);
  if (statSync(file, { throwIfNoEntry: false }) === undefined) return;
  throw new MillraceError("already_exists", `${file} is there already; check it with \`millrace validate\``);
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
