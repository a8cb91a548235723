import { type Artifact, EndingKind } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Run, Task } from "../../proto/gen/millrace/v1/run_pb.ts";
import { endingLabel, millisOf, runStatusLabel, taskStatusLabel, timeOf, waitCauseLabel } from "./labels.ts";

/** What `run --json` ends with. Field names are a promise to scripts. */
export function runResultJson(run: Run) {
  return { ...runHeadJson(run), tasks: run.tasks.map(taskResultJson) };
}

/** A run without its tasks, as in `runs --json`. */
export function runSummaryJson(run: Run) {
  return {
    ...runHeadJson(run),
    pipeline: run.pipeline,
    project: run.project,
    principal: run.principal,
    createTime: isoTime(run.createTime),
    finishTime: isoTime(run.finishTime),
  };
}

/** All that is known of a run, as in `show --json`. */
export function runDetailJson(run: Run) {
  return {
    ...runSummaryJson(run),
    source: run.source === undefined ? undefined : `${run.source.hash}/${run.source.sizeBytes}`,
    tasks: run.tasks.map((task) => ({
      ...taskResultJson(task),
      needs: task.needs,
      ending: endingLabel(task.ending),
      skipReason: task.skipReason === "" ? undefined : task.skipReason,
      wait:
        task.wait === undefined
          ? undefined
          : { cause: waitCauseLabel(task.wait.cause), since: isoTime(task.wait.since), detail: task.wait.detail },
      artifacts: task.artifacts.map(artifactJson),
      action: task.actionDigest === undefined ? undefined : `${task.actionDigest.hash}/${task.actionDigest.sizeBytes}`,
    })),
  };
}

/** An artifact as it was made: in `show --json` and `artifacts --json`. */
export function artifactJson(artifact: Artifact) {
  const { case: kind, value } = artifact.content;
  return {
    name: artifact.name,
    task: artifact.task,
    path: artifact.path,
    kind,
    digest: value === undefined ? undefined : `${value.hash}/${value.sizeBytes}`,
    sizeBytes: Number(artifact.sizeBytes),
  };
}

function runHeadJson(run: Run) {
  const createdMs = timeOf(run.createTime);
  const finishedMs = timeOf(run.finishTime);
  return {
    run: run.name,
    status: runStatusLabel(run.status),
    durationMs: createdMs === undefined || finishedMs === undefined ? undefined : Math.round(finishedMs - createdMs),
  };
}

function taskResultJson(task: Task) {
  const exited = task.ending?.kind === EndingKind.EXITED;
  return {
    name: task.name,
    stage: task.stage,
    status: taskStatusLabel(task.status),
    cached: task.cached,
    attempts: task.attempts,
    agent: task.agent === "" ? null : task.agent,
    durationMs: Math.round(millisOf(task.duration) ?? 0),
    /** Null when no process came to its own end: signalled, timed out, skipped. */
    exit: exited ? (task.ending?.exitCode ?? null) : null,
  };
}

function isoTime(timestamp: Parameters<typeof timeOf>[0]): string | undefined {
  const timeMs = timeOf(timestamp);
  return timeMs === undefined ? undefined : new Date(timeMs).toISOString();
}
