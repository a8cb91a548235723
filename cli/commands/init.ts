import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { Command } from "commander";
import { from, MillraceError } from "../../shared/errors.ts";
import { defaultPipelinePath } from "../../shared/pipeline/pipeline-path.ts";
import { type StarterPipeline, starterPipeline } from "../../shared/pipeline/starter.ts";
import { processConsole } from "../output/console.ts";

interface InitOptions {
  readonly json?: boolean;
}

/** `millrace init`. */
export function initCommand(): Command {
  return new Command("init")
    .description(`Write a starter ${defaultPipelinePath} for the project found in a folder. An existing one is kept.`)
    .argument("[dir]", "the folder", ".")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace init && millrace run")
    .action(init);
}

async function init(dir: string, options: InitOptions): Promise<void> {
  const console = processConsole();
  const starter = starterFor(dir);
  const file = join(dir, defaultPipelinePath);
  try {
    writeFileSync(file, starter.text, { flag: "wx" });
  } catch (error) {
    const failure = from(error, `writing ${file}`);
    if (failure.code !== "already_exists") throw failure;
    throw new MillraceError("already_exists", `${file} is there already; check it with \`millrace validate\``);
  }
  if (options.json) return console.writeJson({ file, kind: starter.kind });
  await console.write(`wrote ${file} for a ${starter.kind} project; run it with \`millrace run ${dir}\`\n`);
}

function starterFor(dir: string): StarterPipeline {
  const folder = resolve(dir);
  let files: string[];
  try {
    files = readdirSync(folder);
  } catch (error) {
    throw from(error, `looking for a project in ${dir}`);
  }
  const read = (path: string) => {
    try {
      return readFileSync(join(folder, path), "utf8");
    } catch {
      return undefined; // A folder by that name, or no right to read it: the starter does without.
    }
  };
  return starterPipeline(new Set(files), read, basename(folder));
}
