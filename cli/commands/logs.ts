import { Command } from "commander";
import type { ReadLogResponse } from "../../proto/gen/millrace/v1/log_pb.ts";
import { MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { awayRemark } from "../follow/resumed.ts";
import { readRunLog } from "../follow/run-streams.ts";
import { numberFromOne, since } from "../option-values.ts";
import { type Console, processConsole } from "../output/console.ts";
import { gapLabel, timeOf } from "../output/labels.ts";
import { type LineSplitter, lineSplitter } from "../output/line-splitter.ts";
import { safeText } from "../output/safe-text.ts";
import { taskPrefixes } from "../output/task-prefix.ts";
import { parseRunName } from "../run-name.ts";

interface LogsOptions extends ConnectionOptions {
  readonly follow?: boolean;
  readonly try?: number;
  /** Wall time in milliseconds. */
  readonly since?: number;
  readonly json?: boolean;
}

/** `millrace logs`. */
export function logsCommand(): Command {
  return withConnectionOptions(new Command("logs"))
    .description("Print the output of a run, each line under its task's name, or of one task as it was written.")
    .argument("<run>", "the run, as 12 or run_12")
    .argument("[task]", "only this task, as stage/task or task")
    .option("-f, --follow", "wait for more until the end")
    .option("--try <n>", "of one task: the output of this try, from 1; default the last one", numberFromOne)
    .option("--since <time>", "only what is newer: 90s, 5m, 2h or an ISO time", since)
    .option("--json", "print one JSON object per line of output")
    .addHelpText("after", "\nExample:\n  $ millrace logs 12 build/compile -f")
    .action(printLogs);
}

async function printLogs(name: string, task: string | undefined, options: LogsOptions): Promise<void> {
  const console = processConsole();
  const run = parseRunName(name);
  if (options.try !== undefined && task === undefined) {
    throw new MillraceError("invalid_argument", "--try is for the output of one task: name it after the run");
  }
  const printer = options.json ? jsonPrinter(console) : task === undefined ? prefixed(console) : verbatim(console);
  await withConnection(options, async (connection) => {
    const chunks = readRunLog(connection, {
      run,
      ...(task === undefined ? {} : { task }),
      ...(options.try === undefined ? {} : { try: options.try }),
      follow: options.follow === true,
      signal: new AbortController().signal,
      onInterruption: (error) => console.note(awayRemark(error)),
    });
    for await (const chunk of chunks) {
      if (!chunk.finish && (timeOf(chunk.time) ?? Number.POSITIVE_INFINITY) < (options.since ?? 0)) continue;
      await printer.print(chunk);
    }
  });
  await printer.end();
}

interface LogPrinter {
  print(chunk: ReadLogResponse): Promise<void>;
  end(): Promise<void>;
}

/** One task: its very bytes, so that the output can be piped and compared; made harmless on a terminal. */
function verbatim(console: Console): LogPrinter {
  // Not between the bytes: those are the task's own.
  const noteGap = ({ task, attempt, gap }: ReadLogResponse) => {
    if (gap) console.note(`${task}, attempt ${attempt}: ${gapLabel}`);
  };
  if (!console.interactive) {
    return {
      async print(chunk) {
        noteGap(chunk);
        await console.write(chunk.data);
      },
      async end() {},
    };
  }
  return byLine(async (chunk, lines) => {
    await console.write(lines.map((line) => `${safeText(line)}\n`).join(""));
    noteGap(chunk);
  });
}

function prefixed(console: Console): LogPrinter {
  const { prefix } = taskPrefixes(console.colors);
  return byLine(async (chunk, lines) => {
    const head = prefix(chunk.task);
    if (chunk.gap) lines.push(gapLabel);
    await console.write(lines.map((line) => `${head}${console.interactive ? safeText(line) : line}\n`).join(""));
  });
}

function jsonPrinter(console: Console): LogPrinter {
  return byLine(async ({ task, try: number, attempt, time, gap }, lines) => {
    const timeMs = timeOf(time);
    const when = timeMs === undefined ? undefined : new Date(timeMs).toISOString();
    const said: object[] = lines.map((text) => ({ task, try: number, attempt, time: when, text }));
    if (gap) said.push({ task, try: number, attempt, gap });
    await console.write(said.map((line) => `${JSON.stringify(line)}\n`).join(""));
  });
}

/** Hands on whole lines of each attempt, and at the end what had no newline, with the gap if there is one. */
function byLine(put: (from: ReadLogResponse, lines: string[]) => Promise<void>): LogPrinter {
  const open = new Map<string, { splitter: LineSplitter; last: ReadLogResponse }>();
  return {
    async print(chunk) {
      const key = `${chunk.task}#${chunk.try}.${chunk.attempt}`;
      const splitter = open.get(key)?.splitter ?? lineSplitter(limits.logLineChars);
      if (chunk.finish) open.delete(key);
      else open.set(key, { splitter, last: chunk });
      const lines = chunk.finish ? splitter.flush() : splitter.push(chunk.data);
      if (lines.length > 0 || chunk.gap) await put(chunk, lines);
    },
    async end() {
      for (const { splitter, last } of open.values()) {
        const lines = splitter.flush();
        if (lines.length > 0) await put(last, lines);
      }
    },
  };
}
