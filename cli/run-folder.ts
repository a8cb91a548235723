import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { EndingKind, RunStatus, TaskStatus } from "../proto/gen/millrace/v1/event_pb.ts";
import type { Run, RunRequestSchema } from "../proto/gen/millrace/v1/run_pb.ts";
import { from, MillraceError } from "../shared/errors.ts";
import type { StatCache } from "../shared/stat-cache/stat-cache.ts";
import { cancelLeftovers } from "./cancel-leftovers.ts";
import { type Connection, withConnection } from "./connection.ts";
import type { ConnectionOptions } from "./connection-options.ts";
import { exitStatus } from "./exit-status.ts";
import { fetchRun } from "./fetch-run.ts";
import { followRun } from "./follow/follow-run.ts";
import { onInterrupts } from "./follow/interrupts.ts";
import { runView, silentView } from "./follow/run-view.ts";
import { type Console, progressConsole } from "./output/console.ts";
import { formatDuration } from "./output/format.ts";
import { runResultJson } from "./output/run-json.ts";
import { runSummary } from "./output/run-summary.ts";
import type { GivenParams } from "./param-option.ts";
import { submitArchive } from "./submit-archive.ts";
import { submitCommit } from "./submit-commit.ts";
import { submitSource } from "./submit-source.ts";

/** Of `millrace run`, as commander gives them. */
export interface RunOptions extends ConnectionOptions {
  readonly pipeline: string;
  readonly stage?: readonly string[];
  readonly task: readonly string[];
  /** A commit of this repository; true: of the project's. */
  readonly git?: string | true;
  readonly ref?: string;
  /** A tar. */
  readonly archive?: string;
  readonly project?: string;
  readonly param?: GivenParams;
  readonly local?: boolean;
  readonly shellOnFailure?: boolean;
  readonly detach?: boolean;
  readonly quiet?: boolean;
  readonly json?: boolean;
}

/** What is run. */
export interface RunFolder {
  readonly dir: string;
  /** Of the folder, opened for this run. Closed once the source was sent, at the latest by the caller. */
  readonly statCache: Promise<StatCache>;
  readonly console: Console;
  /** Its pipeline file is in TypeScript. */
  readonly isTypeScript: boolean;
}

/** Runs a folder whose pipeline file was checked, follows the run, and sets the exit status to its outcome. */
export async function runFolder(folder: RunFolder, options: RunOptions): Promise<void> {
  await onFarm(folder.console, options, (connection) => runWith(connection, folder, options));
}

async function onFarm(
  console: Console,
  options: RunOptions,
  runOn: (connection: Connection) => Promise<void>,
): Promise<void> {
  if (options.local !== true) return withConnection(options, runOn);
  const { withLocalFarm } = await import("./up/local-farm.ts");
  const startedMs = performance.now();
  const report = (part: string, problem: string) => console.note(`${console.colors.dim(`${part}:`)} ${problem}`);
  const isQuiet = options.json === true || options.quiet === true;
  const progress = isQuiet ? undefined : progressConsole();
  return withLocalFarm({ env: process.env, report, progress }, (farm) =>
    withConnection(farm, async (connection) => {
      const left = await cancelLeftovers(connection);
      if (left.length > 0) console.note(`cancelled ${left.join(", ")}, left behind by a call that was ended`);
      const tookMs = performance.now() - startedMs;
      if (!isQuiet) console.note(console.colors.dim(`a farm of its own was ready in ${formatDuration(tookMs)}`));
      return runOn(connection);
    }),
  );
}

async function runWith(connection: Connection, folder: RunFolder, options: RunOptions): Promise<void> {
  const { console, statCache, dir, isTypeScript } = folder;
  const name = await submit(console, options, async (submission) => {
    const submitted = await submitSource(connection, { ...submission, dir, statCache, isTypeScript });
    void statCache.then((cache) => cache.close()); // long before a run that is followed has ended
    return submitted;
  });
  await conclude(connection, { console, name }, options);
}

/** Runs what is in no folder here, a commit or an archive, in the same way. */
export async function runElsewhere(console: Console, options: RunOptions): Promise<void> {
  const { git, ref = "", archive: file } = options;
  await onFarm(console, options, async (connection) => {
    const name = await submit(console, options, (submission) => {
      if (file !== undefined) return submitArchive(connection, { ...submission, file });
      return submitCommit(connection, { ...submission, url: git === true ? "" : (git ?? ""), ref });
    });
    await conclude(connection, { console, name }, options);
  });
}

interface Submitted {
  readonly console: Console;
  /** Of the run. */
  readonly name: string;
}

async function conclude(connection: Connection, { console, name }: Submitted, options: RunOptions): Promise<void> {
  if (options.detach) {
    if (options.json) return console.writeJson({ run: name, status: "running" });
    return console.write(`${name}\n`);
  }
  const outcome = await follow(connection, console, name, options);
  if (outcome === undefined) {
    process.exitCode = exitStatus.infrastructure;
    if (options.local) return console.note(`ending ${name} with its farm; press Ctrl-C again to end it at once`);
    return console.note(`left ${name} alone; see \`millrace show ${name}\``);
  }
  process.exitCode = statusOf(outcome);
  if (options.json) await console.writeJson(runResultJson(outcome));
  else await console.write(runSummary(outcome, console.colors));
  if (options.shellOnFailure) await openShell(connection, console, outcome);
}

/** Where the first task failed by which the run did; that there is no shell does not change what the run came to. */
async function openShell(connection: Connection, console: Console, run: Run): Promise<void> {
  const failed = run.tasks.find((task) => task.status === TaskStatus.FAILED && task.agent !== "" && !task.allowFailure);
  if (failed === undefined) return;
  const { attachShell } = await import("./shell/attach-shell.ts");
  try {
    await attachShell(connection, { run: run.name, task: `${failed.stage}/${failed.name}`, agent: "" }, console);
  } catch (error) {
    console.note(from(error, `a shell in ${failed.stage}/${failed.name}`).message);
  }
}

/** What is submitted, however its source comes. */
interface Submission {
  readonly run: MessageInitShape<typeof RunRequestSchema>;
  readonly signal: AbortSignal;
  readonly console?: Console;
}

async function submit(
  console: Console,
  options: RunOptions,
  send: (submission: Submission) => Promise<string>,
): Promise<string> {
  const interrupted = new AbortController();
  const release = onInterrupts([
    () => interrupted.abort(new MillraceError("canceled", "interrupted; no run was started")),
  ]);
  try {
    const quiet = options.json === true || options.quiet === true;
    const name = await send({
      run: {
        pipelinePath: options.pipeline,
        idempotencyKey: randomUUID(),
        stages: [...(options.stage ?? [])],
        tasks: [...(options.task ?? [])],
        project: options.project ?? "",
        params: { ...options.param },
      },
      signal: interrupted.signal,
      ...(quiet ? {} : { console }),
    });
    if (!quiet && !options.detach) console.note(console.colors.dim(`submitted as ${name}`));
    return name;
  } catch (error) {
    throw interrupted.signal.aborted ? interrupted.signal.reason : error;
  } finally {
    release();
  }
}

/** The run when it has finished; undefined when the person left it alone. */
async function follow(
  connection: Connection,
  console: Console,
  name: string,
  options: RunOptions,
): Promise<Run | undefined> {
  const silent = options.json === true || options.quiet === true;
  const view = silent ? silentView : runView(console);
  const left = new AbortController();
  const secondly = options.local ? "to end its farm, too" : "to leave the run alone";
  const cancel = async () => {
    if (!options.json) await view.remark(`cancelling; press Ctrl-C again ${secondly}`);
    await connection.runs.cancelRun({ run: name, reason: "interrupted on the command line" });
  };
  const release = onInterrupts([() => void cancel().catch((error: unknown) => left.abort(error)), () => left.abort()]);
  try {
    await followRun(connection, { run: name, view, withLog: !silent, signal: left.signal });
  } catch (error) {
    if (!left.signal.aborted) throw error;
    return undefined;
  } finally {
    release();
    await view.close();
  }
  return fetchRun(connection, name);
}

function statusOf(run: Run): number {
  switch (run.status) {
    case RunStatus.SUCCEEDED:
      return exitStatus.success;
    case RunStatus.FAILED:
      return isFarmsFailure(run) ? exitStatus.infrastructure : exitStatus.runFailed;
    default:
      return exitStatus.infrastructure;
  }
}

/** No task failed by itself. Tasks that were skipped or cancelled for it do not count. */
function isFarmsFailure({ tasks }: Run): boolean {
  return tasks.every(({ status, ending, allowFailure }) => {
    const kind = ending?.kind ?? EndingKind.UNSPECIFIED;
    return (
      status !== TaskStatus.FAILED ||
      allowFailure ||
      kind === EndingKind.INFRASTRUCTURE ||
      kind === EndingKind.AGENT_LOST
    );
  });
}
