import { Command } from "commander";
import { TaskStatus } from "../../proto/gen/millrace/v1/event_pb.ts";
import { PoolService } from "../../proto/gen/millrace/v1/pool_pb.ts";
import type { Run, Task } from "../../proto/gen/millrace/v1/run_pb.ts";
import { MillraceError } from "../../shared/errors.ts";
import { type Connection, withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { fetchRun } from "../fetch-run.ts";
import { processConsole } from "../output/console.ts";
import { describeWaits } from "../output/describe-waits.ts";
import { counted } from "../output/format.ts";
import { runStatusLabel, taskStatusLabel, timeOf } from "../output/labels.ts";
import { indentedText } from "../output/safe-text.ts";
import { parseRunName } from "../run-name.ts";
import { isQueued, type QueueAnswer, reasonsOf } from "../wait-reasons.ts";

interface WhyOptions extends ConnectionOptions {
  readonly run?: string;
  readonly json?: boolean;
}

/** `millrace why`. */
export function whyCommand(): Command {
  return withConnectionOptions(new Command("why"))
    .description("Say why things wait: for every task of a run that waits, or for one task, the reason and since when.")
    .argument("<run-or-task>", "a run, as 12 or run_12, or a task, as stage/task or task, of the newest run")
    .option("--run <run>", "the run of the task, when it is not the newest")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExamples:\n  $ millrace why 12\n  $ millrace why verify/unit --run 12")
    .action(why);
}

async function why(subject: string, options: WhyOptions): Promise<void> {
  const console = processConsole();
  const isRun = options.run === undefined && /^(run_)?\d+$/.test(subject);
  const { run, queue } = await withConnection(options, async (connection) => {
    const run = await fetchRun(connection, isRun ? parseRunName(subject) : await runOf(connection, options));
    return { run, queue: isQueued(run) ? await askQueue(connection, run) : { places: [], pools: [] } };
  });
  const task = isRun ? undefined : taskOf(run, subject);
  const nowMs = Date.now();
  const reasons = reasonsOf(run, queue, nowMs).filter((reason) => task === undefined || reason.task === idOf(task));
  if (options.json) {
    const status = task === undefined ? runStatusLabel(run.status) : taskStatusLabel(task.status);
    return console.writeJson({ run: run.name, status, waiting: reasons });
  }
  await console.write(reasons.length === 0 ? nothingWaits(run, task) : describeWaits(reasons));
}

/** Pools are asked for only where one could help: a coordinator from before knows none. */
async function askQueue({ runs, client }: Connection, { name }: Run): Promise<QueueAnswer> {
  const { places } = await runs.listQueuePlaces({ run: name });
  const isPooled = places.some(({ pools }) => pools.length > 0);
  return { places, pools: isPooled ? (await client(PoolService).listPools({})).pools : [] };
}

async function runOf(connection: Pick<Connection, "runs">, { run }: WhyOptions): Promise<string> {
  if (run !== undefined) return parseRunName(run);
  const [newest] = (await connection.runs.listRuns({ pageSize: 1 })).runs;
  if (newest === undefined)
    throw new MillraceError("not_found", "there are no runs yet: start one with `millrace run`");
  return newest.name;
}

function taskOf(run: Run, asked: string): Task {
  const found = run.tasks.filter((task) => asked === idOf(task) || asked === task.name);
  const [task] = found;
  if (task !== undefined && found.length === 1) return task;
  const names = (found.length > 1 ? found : run.tasks).map(idOf).join(", ");
  if (found.length > 1) throw new MillraceError("invalid_argument", `"${asked}" may be any of ${names}: say which`);
  throw new MillraceError("not_found", `${run.name} has no task "${asked}"; it has: ${names}`);
}

function nothingWaits(run: Run, task: Task | undefined): string {
  if (task !== undefined) {
    const ended = task.skipReason === "" ? "" : `: ${indentedText(task.skipReason)}`;
    return `${idOf(task)} of ${run.name} does not wait: it is ${taskStatusLabel(task.status)}${ended}\n`;
  }
  const running = run.tasks.filter((one) => one.status === TaskStatus.RUNNING).length;
  const rest =
    timeOf(run.finishTime) === undefined ? `${counted(running, "task")} running` : runStatusLabel(run.status);
  return `nothing of ${run.name} waits: ${rest}\n`;
}

function idOf(task: Task): string {
  return `${task.stage}/${task.name}`;
}
