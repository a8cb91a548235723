import { expect } from "vitest";
import type { ActionResult } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { type Event, RunStatus, type TaskFinished, TaskStatus } from "../../proto/gen/millrace/v1/event_pb.ts";
import { digestFromMessage, digestKey, digestOf } from "../../shared/digest.ts";
import type { AttemptLog } from "./follow.ts";
import { wholeOutput } from "./pipeline.ts";
import type { Round } from "./plan.ts";
import type { Struck } from "./strike.ts";

/** All that is known of a run after its end. Logs by `stage/task#attempt`. */
export interface Outcome {
  readonly run: string;
  readonly struck: Struck;
  readonly events: readonly Event[];
  /** As a follower saw them who was there all along. */
  readonly followed: ReadonlyMap<string, AttemptLog>;
  /** As they stand. */
  readonly stored: ReadonlyMap<string, AttemptLog>;
  /** The last one of `numbers`, as a follower sees it who comes when all is over. */
  readonly late: ReadonlyMap<string, AttemptLog>;
  /** What the action cache has for `numbers`. */
  readonly cached: (finished: TaskFinished) => Promise<ActionResult>;
  /** Lines of the agents' logs of process starts: time, execution, attempt, process. */
  readonly processStarts: readonly string[];
}

/** Attempts that ran, as `stage/task#attempt`, by task in their order. */
function startedBy(events: readonly Event[]): Map<string, number[]> {
  const started = new Map<string, number[]>();
  for (const { kind } of events) {
    if (kind.case !== "taskStarted") continue;
    started.set(kind.value.task, [...(started.get(kind.value.task) ?? []), kind.value.attempt]);
  }
  return started;
}

const tasks = ["after/check", "work/numbers", "work/other"];

/** What must hold after every round, whatever was killed when. */
export async function checkRound(round: Round, outcome: Outcome): Promise<void> {
  const { events, stored, late, processStarts, run } = outcome;
  const last = events.at(-1)?.kind;
  expect(last?.case === "runFinished" && last.value.status, "the run ends right").toBe(RunStatus.SUCCEEDED);

  const finished = events.flatMap(({ kind }) => (kind.case === "taskFinished" ? [kind.value] : []));
  expect(finished.map(({ task }) => task).sort(), "each task finishes once").toEqual(tasks);
  expect(finished.map(({ status, cached }) => [status, cached])).toEqual(
    tasks.map(() => [TaskStatus.SUCCEEDED, false]),
  );

  const started = startedBy(events);
  for (const [task, attempts] of started) {
    expect(attempts, `attempts of ${task} are started once each, in order`).toEqual(
      [...new Set(attempts)].sort((a, b) => a - b),
    );
  }
  const executed = processStarts.filter((line) => line.includes(` ${run}.`)).map((line) => line.split(" ")[1] ?? "");
  const bystanders = round.victims.every((victim) => victim === "coordinator" || victim === "nats");
  if (bystanders)
    expect(executed.sort(), "what runs is not placed again").toEqual(
      tasks.map((task) => `${run}.${task.replace("/", ".")}`),
    );

  for (const task of finished) {
    const attempt = started.get(task.task)?.at(-1);
    const text = stored.get(`${task.task}#${attempt}`)?.text ?? "";
    expect(digestKey(digestFromMessage(task.logDigest)), `the log of ${task.task} is that of its last attempt`).toBe(
      digestKey(digestOf(Buffer.from(text))),
    );
    if (task.task === "work/numbers") await checkCache(task, await outcome.cached(task));
  }

  for (const task of ["work/numbers", "work/other"]) {
    for (const attempt of started.get(task) ?? [])
      checkLog(round, outcome, { task, attempt, isLast: attempt === started.get(task)?.at(-1) });
  }
  expect([...late.values()].at(-1), "a late follower gets the whole log").toEqual({
    text: wholeOutput,
    ends: 1,
    gap: false,
  });
}

/** Only the attempt that counted may write to the cache. */
async function checkCache(finished: TaskFinished, cached: ActionResult): Promise<void> {
  const stamp = finished.artifacts.find(({ name }) => name === "stamp");
  const file = cached.outputFiles.find(({ path }) => path === "stamp");
  expect(stamp?.content.value, "there is a result that counted").toBeDefined();
  expect(file?.digest, "the cache has the result that counted").toEqual(stamp?.content.value);
  expect(cached.stdoutDigest).toEqual(finished.logDigest);
}

function checkLog(
  { victims }: Round,
  { struck, stored, followed, run }: Outcome,
  { task, attempt, isLast }: { task: string; attempt: number; isLast: boolean },
): void {
  const key = `${task}#${attempt}`;
  const log = stored.get(key) ?? { text: "", ends: 0, gap: false };
  const where = `${key}, ${log.text.length} of ${wholeOutput.length} bytes${log.gap ? " and a gap" : ""}`;
  expect(log.ends, `it has one end: ${where}`).toBe(1);
  expect(wholeOutput.startsWith(log.text), `it is a prefix: ${where}`).toBe(true);
  const written = struck.written.get(`${run}.${task.replace("/", ".")}.${attempt}`) ?? "";
  expect(log.text.startsWith(written), `it holds the ${written.length} bytes from before the kill: ${where}`).toBe(
    true,
  );
  if (isLast) expect([log.text.length, log.gap], `it is whole: ${where}`).toEqual([wholeOutput.length, false]);
  else if (victims.includes("agent")) {
    expect(log.gap || log.text === wholeOutput, `it says that it may lack something: ${where}`).toBe(true);
  } else if (!victims.includes("up")) {
    expect(log.gap, `its agent lives and has sent all of it: ${where}`).toBe(false);
  }
  expect(followed.get(key), `a follower saw the same: ${where}`).toEqual(log);
}
