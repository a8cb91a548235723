import { type Artifact, EndingKind, GateDecision, type GitSource } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Gate, GateEvidence, Run, RunComment, RunPause, Task } from "../../proto/gen/millrace/v1/run_pb.ts";
import {
  confinementLabels,
  endingLabel,
  isoTime,
  millisOf,
  runStatusLabel,
  taskStatusLabel,
  timeOf,
  waitCauseCode,
  waitCauseLabel,
} from "./labels.ts";

/** What `run --json` ends with. Field names are a promise to scripts. */
export function runResultJson(run: Run) {
  const { allowedFailures } = run;
  return { ...runHeadJson(run), allowedFailures, tasks: run.tasks.map(taskResultJson) };
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
    pinned: run.pinned,
    allowedFailures: run.allowedFailures,
  };
}

/** All that is known of a run, as in `show --json`. */
export function runDetailJson(run: Run) {
  return {
    ...runSummaryJson(run),
    source: digestText(run.source),
    params: run.params,
    git: run.git === undefined ? undefined : gitJson(run.git),
    pause: run.pause === undefined ? undefined : remarkJson(run.pause, run.pause.reason),
    comments: run.comments.map((it) => ({ ...remarkJson(it, it.text), task: it.task === "" ? undefined : it.task })),
    tasks: run.tasks.map((task) => ({
      ...taskResultJson(task),
      allowFailure: task.allowFailure,
      always: task.always,
      tries: task.tries.map((it) => ({
        ...{ try: it.try, status: taskStatusLabel(it.status), ending: endingLabel(it.ending) },
        ...{ agent: it.agent === "" ? null : it.agent, attempts: it.attempts },
      })),
      needs: task.needs,
      skipReason: task.skipReason === "" ? undefined : task.skipReason,
      wait:
        task.wait === undefined
          ? undefined
          : {
              code: waitCauseCode(task.wait.cause),
              cause: waitCauseLabel(task.wait.cause),
              since: isoTime(task.wait.since),
              detail: task.wait.detail,
            },
      gate: task.gate === undefined ? undefined : gateJson(task.gate),
      artifacts: task.artifacts.map(artifactJson),
      warnings: task.warnings,
      action: digestText(task.actionDigest),
    })),
  };
}

/** Who said what, and when. */
function remarkJson({ principal, time }: RunPause | RunComment, text: string) {
  return { principal, time: isoTime(time), text };
}

/** A gate: what is asked of whom, what a decision binds, and the decision once there is one. */
function gateJson(gate: Gate) {
  const { planned, binding, bound, deadline, decided, decidedBy, decideTime } = gate;
  return {
    title: planned?.title,
    checklist: planned?.checklist,
    approvers: planned?.approvers,
    approvals: Math.max(1, planned?.approvals ?? 1),
    votes: gate.votes.map(({ principal, time, comment, fields, checked }) => ({
      ...{ principal, comment, fields, checked },
      time: isoTime(time),
    })),
    evidence: gate.evidence.map(evidenceJson),
    missing: gate.missing,
    supersededBy: gate.supersededBy === "" ? undefined : gate.supersededBy,
    binding: binding?.hash,
    artifacts: bound?.artifacts.map(({ name, task, digest }) => ({ name, task, digest: digestText(digest) })),
    deadline: isoTime(deadline),
    decision: decided === undefined ? undefined : decisionLabel(decided.decision),
    decidedBy: decidedBy === "" ? undefined : decidedBy,
    decideTime: isoTime(decideTime),
    comment: decided?.comment,
    timedOut: decided?.timedOut,
  };
}

/** A file beside a gate: in `show --json` and `evidence --json`. */
export function evidenceJson({ name, digest, principal, time }: GateEvidence) {
  return { name, digest: digestText(digest), principal, time: isoTime(time) };
}

/** The commit that a run is about; with `commits` and `changedPaths` where an agent imported it. */
function gitJson(git: GitSource) {
  const { url, ref, branch, commit, previousCommit, commits, moreCommits, changedPaths, changedPathsKnown, dirty } =
    git;
  return {
    ...{ url, ref, branch, commit, dirty },
    previousCommit: previousCommit === "" ? undefined : previousCommit,
    commits: commits.map(({ commit: id, authorName, authorEmail, authorTime, subject }) => ({
      ...{ commit: id, authorName, authorEmail, subject },
      authorTime: isoTime(authorTime),
    })),
    moreCommits,
    changedPaths: changedPathsKnown ? changedPaths : undefined,
  };
}

/** `approved` or `rejected`. */
export function decisionLabel(decision: GateDecision): string {
  return decision === GateDecision.APPROVED ? "approved" : "rejected";
}

function digestText(digest: { readonly hash: string; readonly sizeBytes: bigint } | undefined): string | undefined {
  return digest === undefined ? undefined : `${digest.hash}/${digest.sizeBytes}`;
}

/** An artifact as it was made: in `show --json` and `artifacts --json`. */
export function artifactJson(artifact: Artifact) {
  const { case: kind, value } = artifact.content;
  return {
    name: artifact.name,
    task: artifact.task,
    path: artifact.path,
    kind,
    digest: digestText(value),
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
    try: task.try,
    attempts: task.attempts,
    agent: task.agent === "" ? null : task.agent,
    durationMs: Math.round(millisOf(task.duration) ?? 0),
    /** Null when no process came to its own end: signalled, timed out, skipped. */
    exit: exited ? (task.ending?.exitCode ?? null) : null,
    /** Empty for a plain success. */
    ending: endingLabel(task.ending),
    /** Null where it was not measured. */
    cpuMs: task.usage?.cpu === undefined ? null : Math.round(millisOf(task.usage.cpu) ?? 0),
    peakMemoryBytes: Number(task.usage?.peakMemoryBytes ?? 0) || null,
    ...(confinementLabels(task.confinement) ?? { sandbox: null, containment: null }),
  };
}
