import type { Event } from "../../proto/gen/millrace/v1/event_pb.ts";
import { TaskStatus, WaitCause } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { ReadLogResponse } from "../../proto/gen/millrace/v1/log_pb.ts";
import { limits } from "../../shared/limits.ts";
import type { Console } from "../output/console.ts";
import { formatDuration } from "../output/format.ts";
import { endingLabel, gapLabel, millisOf, paintStatus, taskStatusLabel, waitCauseLabel } from "../output/labels.ts";
import { type LineSplitter, lineSplitter } from "../output/line-splitter.ts";
import { decisionLabel } from "../output/run-json.ts";
import { indentedText, remarked, safeText } from "../output/safe-text.ts";
import { spinner, statusLine } from "../output/status-line.ts";
import { taskPrefixes } from "../output/task-prefix.ts";
import { runProgress } from "./run-progress.ts";

/** Shows a run to a person while it goes on. Methods are called one at a time. */
export interface RunView {
  event(event: Event): Promise<void>;
  output(chunk: ReadLogResponse): Promise<void>;
  /** A remark between the lines, for example that the coordinator is away. */
  remark(text: string): Promise<void>;
  /** Nothing more comes: gives out what was held back and leaves the terminal clean. */
  close(): Promise<void>;
}

/**
 * Every line under the name of its task. Events and output come on two streams, so the line that says how a task ended
 * is held back until its output is complete: nothing of a task is printed after its end.
 */
export function runView(console: Console, startedMs = performance.now()): RunView {
  const { colors } = console;
  const progress = runProgress();
  const { prefix, announce } = taskPrefixes(colors);
  const splitters = new Map<string, LineSplitter>();
  const endings = new Map<string, string>();
  /** The last attempt whose output must come before its end is said, and the last one whose output is complete. */
  const awaited = new Map<string, Attempt>();
  const logged = new Map<string, Attempt>();
  const isLogged = (task: string) => {
    const complete = logged.get(task);
    return complete !== undefined && !isBefore(complete, awaited.get(task) ?? none);
  };

  const line = statusLine(console, () => {
    const nowMs = performance.now();
    const counts = progress.counts();
    const failed = counts.failed === 0 ? "" : `, ${counts.failed} failed`;
    const state = `${counts.done}/${counts.total} done, ${counts.running} running, ${counts.waiting} waiting${failed}`;
    return `${spinner(nowMs)} ${state}, ${formatDuration(nowMs - startedMs)}  ${progress.running().join("  ")}`;
  });

  const lines = (task: string, texts: readonly string[]) => {
    const head = prefix(task);
    return texts.map((text) => `${head}${console.interactive ? safeText(text) : text}\n`).join("");
  };

  /** Says how a task ended, now or when its output is complete. */
  async function conclude(task: string, text: string): Promise<void> {
    const said = `${prefix(task)}${text}\n`;
    if (isLogged(task)) await line.write(said);
    else endings.set(task, said);
  }

  async function event(event: Event): Promise<void> {
    progress.apply(event);
    const { kind } = event;
    switch (kind.case) {
      case "runPlanned":
        announce(progress.tasks());
        break;
      case "tasksGenerated": {
        const { by, tasks } = kind.value;
        announce(progress.tasks());
        const names = tasks.map(({ name }) => name);
        const more = names.length > 5 ? `, … (${names.length})` : "";
        await line.write(`${prefix(by)}${colors.dim(`added ${names.slice(0, 5).join(", ")}${more}`)}\n`);
        break;
      }
      case "taskWaiting":
        if (needsAttention(kind.value.wait?.cause)) {
          const { cause, detail } = kind.value.wait ?? { cause: WaitCause.UNSPECIFIED, detail: "" };
          const text = `waits: ${waitCauseLabel(cause)}${detail === "" ? "" : `: ${indentedText(detail)}`}`;
          await line.write(`${prefix(kind.value.task)}${colors.yellow(text)}\n`);
        }
        break;
      case "taskStarted": {
        const { task, agent, attempt, try: number } = kind.value;
        awaited.set(task, { try: number, attempt });
        const again = `${number > 1 ? `, try ${number}` : ""}${attempt > 1 ? `, attempt ${attempt}` : ""}`;
        await line.write(`${prefix(task)}${colors.dim(`started on ${agent}${again}`)}\n`);
        break;
      }
      case "gateDecided": {
        const { task, decision, comment, timedOut } = kind.value;
        logged.set(task, noOutput);
        const who = timedOut ? "by its time-out" : `by ${event.principal}`;
        await line.write(
          `${prefix(task)}${decisionLabel(decision)} ${who}${comment === "" ? "" : `: ${indentedText(comment)}`}\n`,
        );
        break;
      }
      case "taskFinished": {
        const { task, status, cached, ending, duration, try: number } = kind.value;
        if (isBefore(awaited.get(task) ?? none, { try: number, attempt: 0 }))
          awaited.set(task, { try: number, attempt: 0 });
        const tookMs = millisOf(duration);
        const took = cached ? " from the cache" : tookMs === undefined ? "" : ` in ${formatDuration(tookMs)}`;
        const why = status === TaskStatus.CANCELLED ? (ending?.detail ?? "") : endingLabel(ending);
        const text = `${paintStatus(colors, taskStatusLabel(status))}${why === "" ? "" : `: ${indentedText(why)}`}`;
        await conclude(task, remarked(text, colors.dim(took)));
        break;
      }
      case "taskSkipped":
        await line.write(`${prefix(kind.value.task)}${colors.dim(`skipped: ${indentedText(kind.value.reason)}`)}\n`);
        break;
      case "taskRetried": {
        const { task, ending, try: number } = kind.value;
        const why = remarked(indentedText(endingLabel(ending)), `; try ${number} follows`);
        await line.write(`${prefix(task)}${colors.yellow(why)}\n`);
        break;
      }
      case "tasksReopened":
      case "runPaused":
      case "runResumed":
      case "runCommented":
      case "runCancelRequested":
        await line.write(`${colors.yellow(indentedText(steeringLine(event)))}\n`);
        break;
      default: // The other kinds are not for the eyes of a person.
    }
  }

  return {
    event,
    async output(chunk) {
      const key = `${chunk.task}#${chunk.try}.${chunk.attempt}`;
      const splitter = splitters.get(key) ?? lineSplitter(limits.logLineChars);
      splitters.set(key, splitter);
      const texts = chunk.finish ? splitter.flush() : splitter.push(chunk.data);
      let text = lines(chunk.task, texts);
      if (chunk.gap) text += `${prefix(chunk.task)}${colors.yellow(gapLabel)}\n`;
      if (chunk.finish) {
        splitters.delete(key);
        if (isBefore(logged.get(chunk.task) ?? none, chunk)) logged.set(chunk.task, chunk);
        if (isLogged(chunk.task)) {
          text += endings.get(chunk.task) ?? "";
          endings.delete(chunk.task);
        }
      }
      if (text !== "") await line.write(text);
    },
    remark: (text) => line.write(`${colors.yellow(text)}\n`),
    async close() {
      const rest = [...splitters].map(([key, splitter]) => lines(key.slice(0, key.lastIndexOf("#")), splitter.flush()));
      const text = rest.join("") + [...endings.values()].join("");
      if (text !== "") await line.write(text);
      await line.close();
    },
  };
}

/** Attempts are counted anew in each try. */
type Attempt = Pick<ReadLogResponse, "try" | "attempt">;

/** Before any output. */
const none: Attempt = { try: 0, attempt: -1 };
/** A gate has no output that its end would have to wait for. */
const noOutput: Attempt = { try: Number.POSITIVE_INFINITY, attempt: 0 };

function isBefore(a: Attempt, b: Attempt): boolean {
  return a.try < b.try || (a.try === b.try && a.attempt < b.attempt);
}

/** What somebody did with the run, in a line. */
function steeringLine({ kind, principal }: Event): string {
  switch (kind.case) {
    case "tasksReopened":
      return `once more, asked for by ${principal}: ${kind.value.tasks.join(", ")}`;
    case "runPaused":
      return `paused by ${principal}${kind.value.reason === "" ? "" : `: ${kind.value.reason}`}`;
    case "runCancelRequested":
      return `cancelling${kind.value.reason === "" ? "" : `: ${kind.value.reason}`}`;
    case "runResumed":
      return `resumed by ${principal}`;
    case "runCommented":
      return `${principal}${kind.value.task === "" ? "" : ` on ${kind.value.task}`}: ${kind.value.text}`;
    default:
      return "";
  }
}

/** The other causes are the ordinary course of things. */
const worthSaying: ReadonlySet<WaitCause | undefined> = new Set([
  WaitCause.NO_AGENT_MATCHES,
  WaitCause.AGENT_LOST,
  WaitCause.AGENT_DRAINING,
  WaitCause.GATE,
  WaitCause.CONCURRENCY,
  WaitCause.QUOTA,
  WaitCause.SECRET,
]);

function needsAttention(cause: WaitCause | undefined): boolean {
  return worthSaying.has(cause);
}

/** Shows nothing, for `--json` and `--quiet`. */
export const silentView: RunView = {
  async event() {},
  async output() {},
  async remark() {},
  async close() {},
};
