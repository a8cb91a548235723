import { join } from "node:path";
import { systemClock } from "../shared/clock.ts";
import { from, type MillraceError } from "../shared/errors.ts";
import type { Problem } from "../shared/pipeline/pipeline.ts";
import { openStatCache } from "../shared/stat-cache/sqlite-stat-cache.ts";
import { cacheFolder } from "./cache-folder.ts";
import { type Connection, withConnection } from "./connection.ts";
import { onInterrupts } from "./follow/interrupts.ts";
import type { EvaluateFile } from "./load-pipeline.ts";
import { type Console, progressConsole } from "./output/console.ts";
import { whileShowing } from "./output/status-line.ts";
import { violationsOf } from "./report-error.ts";
import { withLocalFarm } from "./up/local-farm.ts";
import { uploadSource } from "./upload-source.ts";

/**
 * Evaluates files in TypeScript as runs do, in the sandbox of an agent: that of the farm that `run --local` starts. What
 * was evaluated there before with the same inputs is not evaluated again.
 */
export const evaluateLocally: EvaluateFile = async (dir, path) => {
  const progress = progressConsole();
  const report = (part: string, problem: string) => progress.note(`${progress.colors.dim(`${part}:`)} ${problem}`);
  return await withLocalFarm({ env: process.env, report, progress }, (farm) =>
    withConnection(farm, async (connection) => {
      try {
        return { text: await evaluated(connection, { dir, path, progress }) };
      } catch (error) {
        const problems = problemsOf(from(error), path);
        if (problems.length === 0) throw error;
        return { problems };
      }
    }),
  );
};

interface FileToEvaluate {
  readonly dir: string;
  readonly path: string;
  readonly progress: Console;
}

async function evaluated(connection: Connection, { dir, path, progress }: FileToEvaluate): Promise<string> {
  const interrupted = new AbortController();
  const release = onInterrupts([() => interrupted.abort()]);
  const { signal } = interrupted;
  const statCache = openStatCache({
    folder: join(cacheFolder(process.env), "sources"),
    source: dir,
    startedMs: systemClock.nowMs(),
    onProblem: ({ message }: MillraceError) => progress.note(message),
  });
  try {
    const source = await uploadSource(connection, dir, { signal, statCache, console: progress, assumeLast: false });
    const evaluate = () => connection.runs.evaluatePipeline({ source, pipelinePath: path }, { signal });
    return (await whileShowing(progress, () => `evaluating ${path}`, evaluate)).pipeline;
  } finally {
    release();
    await (await statCache).close();
  }
}

/** What the coordinator found wrong with the file, as a check on this machine says it. */
function problemsOf(error: MillraceError, path: string): Problem[] {
  return violationsOf(error).map(({ field, description: message }) => {
    const [, file, line, column] = /^(.+):(\d+):(\d+)$/.exec(field) ?? [];
    if (file !== undefined) return { file, line: Number(line), column: Number(column), message };
    return { file: path, line: 1, column: 1, path: field.replace(`${path}: `, ""), message };
  });
}
