import type { Action, Command } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ActionSchema, CommandSchema } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Artifact, ArtifactUse } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import { readMessage } from "../../../shared/cas/read-blob.ts";
import { type Digest, digestFromMessage, digestToMessage } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { buildTree } from "../../../shared/merkle/build-tree.ts";
import { loadTree } from "../../../shared/merkle/load-tree.ts";
import type { TreeNode } from "../../../shared/merkle/tree-entry.ts";
import { actionFor } from "../../../shared/pipeline/action.ts";
import { graftArtifacts } from "../../../shared/pipeline/graft.ts";
import type { ActionCache } from "../../farm/action-cache/action-cache.ts";
import type { RunCommand } from "./decide.ts";
import { outcomeOfResult } from "./outcome.ts";
import type { RunState, TaskState } from "./run-state.ts";

/** An Action with what it refers to, ready to be executed. */
export interface PreparedAction {
  readonly digest: Digest;
  readonly action: Action;
  readonly command: Command;
}

export interface PrepareDeps {
  readonly cas: Cas;
  readonly actionCache: ActionCache;
}

/** What to do with a task whose needs have succeeded: take the cached result, or execute. */
export type Prepared =
  | { readonly kind: "cached"; readonly command: RunCommand }
  | { readonly kind: "execute"; readonly prepared: PreparedAction };

/** Completes the task's Action with the artifacts that it uses, and asks the action cache. */
export async function prepareTask(
  deps: PrepareDeps,
  state: RunState,
  task: TaskState,
  signal: AbortSignal,
): Promise<Prepared> {
  const { cas, actionCache } = deps;
  const inputRoot = await inputRootOf(cas, state, task, signal);
  const { action, digest, blob } = actionFor(task.planned, inputRoot);
  const entry = action.doNotCache ? undefined : await actionCache.get(digest, signal);
  if (entry !== undefined) {
    const outcome = await outcomeOfResult(cas, task.planned, entry.result, signal);
    const command = {
      kind: "finish",
      task: task.name,
      outcome: { ...outcome, cached: true, actionDigest: digestToMessage(digest) },
    } as const;
    return { kind: "cached", command };
  }
  await cas.writeMany([blob], signal);
  const command = await readMessage(cas, CommandSchema, digestFromMessage(action.commandDigest), signal);
  return { kind: "execute", prepared: { digest, action, command } };
}

/** Reads an Action back, for a task that a former start of the coordinator had submitted. */
export async function readPrepared(cas: Cas, digest: Digest, signal: AbortSignal): Promise<PreparedAction> {
  const action = await readMessage(cas, ActionSchema, digest, signal);
  const command = await readMessage(cas, CommandSchema, digestFromMessage(action.commandDigest), signal);
  return { digest, action, command };
}

/** The declared inputs, with each used artifact put at its path. */
async function inputRootOf(
  cas: Cas,
  state: RunState,
  { name, planned }: TaskState,
  signal: AbortSignal,
): Promise<Digest> {
  const declared = digestFromMessage(planned.inputRootDigest, `the input root of ${name}`);
  if (planned.uses.length === 0) return declared;
  const uses = planned.uses.map((use) => ({ path: use.path, node: nodeOf(artifactFor(state, name, use)) }));
  const tree = buildTree(graftArtifacts(await loadTree(cas, declared, signal), uses));
  await cas.writeMany([...tree.directories.values()], signal);
  return tree.root;
}

function artifactFor(state: RunState, task: string, use: ArtifactUse): Artifact {
  const artifact = state.tasks.get(use.task)?.outcome?.artifacts.find(({ name }) => name === use.artifact);
  if (artifact !== undefined) return artifact;
  throw new MillraceError("failed_precondition", `${task} uses ${use.artifact}, which ${use.task} did not leave`);
}

function nodeOf({ content, name, isExecutable }: Artifact): TreeNode {
  switch (content.case) {
    case "file":
      return { kind: "file", digest: digestFromMessage(content.value), executable: isExecutable };
    case "directory":
      return { kind: "directory", digest: digestFromMessage(content.value) };
    case undefined:
      throw new MillraceError("internal", `the artifact ${name} has no content`);
  }
}
