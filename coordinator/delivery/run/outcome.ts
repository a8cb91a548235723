import { create } from "@bufbuild/protobuf";
import { durationFromMs, type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type ActionResult,
  DirectorySchema,
  type OutputDirectory,
  TreeSchema,
} from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  type Artifact,
  ArtifactSchema,
  EndingKind,
  type PlannedTask,
  TaskStatus,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import { readMessage } from "../../../shared/cas/read-blob.ts";
import { digestFromMessage } from "../../../shared/digest.ts";
import { warningsIn } from "../../../shared/output-warnings.ts";
import type { ExecutionOutcome } from "../../farm/scheduler/scheduler.ts";
import { taskName } from "./generated-tasks.ts";
import type { TaskOutcome } from "./run-command.ts";

/** What an execution means for its task. */
export async function outcomeOfExecution(
  cas: Cas,
  planned: PlannedTask,
  { ending, result, usage, confinement, deployment }: ExecutionOutcome,
  signal: AbortSignal,
): Promise<TaskOutcome> {
  const status = statusOf(ending.kind, ending.exitCode);
  const made = result === undefined ? {} : await outcomeOfResult(cas, planned, result, signal);
  const used = {
    ...(usage === undefined ? {} : { usage }),
    ...(confinement === undefined ? {} : { confinement }),
    ...(deployment === undefined ? {} : { deployment }),
  };
  // Of a process that ended well, the outputs have the last word.
  return status === TaskStatus.SUCCEEDED ? { status, ending, ...made, ...used } : { ...made, ...used, status, ending };
}

/** What a result means for its task when its process ended well: from the cache, or just made. */
export async function outcomeOfResult(
  cas: Cas,
  planned: PlannedTask,
  result: ActionResult,
  signal: AbortSignal,
): Promise<TaskOutcome> {
  const artifacts: Artifact[] = [];
  const unusable: string[] = [];
  for (const { artifact, path } of planned.outputs) {
    const found = await artifactAt(cas, result, path, signal);
    if (found === undefined) unusable.push(path);
    else artifacts.push(create(ArtifactSchema, { ...found, name: artifact, path, task: taskName(planned) }));
  }
  const { executionStartTimestamp: start, executionCompletedTimestamp: end } = result.executionMetadata ?? {};
  // A symlink may stand in an output folder, but as an output it promises bytes that nobody has.
  const detail = `the output ${unusable.join(", ")} is neither a file nor a folder`;
  const verdict =
    unusable.length === 0
      ? { status: TaskStatus.SUCCEEDED, ending: { kind: EndingKind.EXITED, exitCode: result.exitCode } }
      : { status: TaskStatus.FAILED, ending: { kind: EndingKind.OUTPUT_MISSING, detail } };
  return {
    ...verdict,
    artifacts,
    warnings: warningsIn(result),
    ...(result.stdoutDigest === undefined ? {} : { logDigest: result.stdoutDigest }),
    ...(start === undefined || end === undefined ? {} : { duration: durationFromMs(span(start, end)) }),
  };
}

function statusOf(kind: EndingKind, exitCode: number): TaskStatus {
  if (kind === EndingKind.EXITED && exitCode === 0) return TaskStatus.SUCCEEDED;
  return kind === EndingKind.CANCELLED ? TaskStatus.CANCELLED : TaskStatus.FAILED;
}

async function artifactAt(cas: Cas, result: ActionResult, path: string, signal: AbortSignal) {
  const file = result.outputFiles.find((output) => output.path === path);
  if (file?.digest !== undefined) {
    const content = { case: "file", value: file.digest } as const;
    return { content, sizeBytes: file.digest.sizeBytes, isExecutable: file.isExecutable };
  }
  const directory = result.outputDirectories.find((output) => output.path === path);
  if (directory?.rootDirectoryDigest === undefined) return undefined;
  const content = { case: "directory", value: directory.rootDirectoryDigest } as const;
  return { content, sizeBytes: await sizeOf(cas, directory, signal) };
}

/** Of all files in an output directory. */
async function sizeOf(cas: Cas, output: OutputDirectory, signal: AbortSignal): Promise<bigint> {
  if (output.treeDigest === undefined) return 0n;
  const tree = await readMessage(cas, TreeSchema, digestFromMessage(output.treeDigest), signal);
  let sum = 0n;
  for (const { files } of [tree.root ?? create(DirectorySchema), ...tree.children]) {
    for (const { digest } of files) sum += digest?.sizeBytes ?? 0n;
  }
  return sum;
}

function span(start: Timestamp, end: Timestamp): number {
  return Math.max(0, timestampMs(end) - timestampMs(start));
}
