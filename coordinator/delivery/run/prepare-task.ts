import { create } from "@bufbuild/protobuf";
import type { Action, Command } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  ActionSchema,
  CommandSchema,
  PlatformSchema,
} from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  type Artifact,
  type ArtifactUse,
  type PlannedTask,
  PlannedTaskSchema,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
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
import type { Environments } from "../environment/environments.ts";
import type { ProjectView } from "../project/projects.ts";
import { type GenerateDeps, withGeneratedTasks } from "./generate-tasks.ts";
import { outcomeOfResult } from "./outcome.ts";
import type { ChangeTask } from "./run-command.ts";
import type { RunState } from "./run-state.ts";
import type { TaskState } from "./task-state.ts";

/** An Action with what it refers to, ready to be executed. */
export interface PreparedAction {
  readonly digest: Digest;
  readonly action: Action;
  readonly command: Command;
}

export interface PrepareDeps extends GenerateDeps {
  readonly actionCache: ActionCache;
  readonly environments: Pick<Environments, "bind">;
  readonly projects: Pick<ProjectView, "cacheZoneOf">;
  /** Told, for a person, that a deployment waits for an agent that its environment could be tied to. */
  readonly onNoAgent: (detail: string) => void;
}

/** What to do with a task whose needs have succeeded: take the cached result, or execute. */
export type Prepared =
  | { readonly kind: "cached"; readonly command: ChangeTask }
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
  const planned = await placed(deps, state, task, signal);
  const { project } = state;
  const scope = { project, cacheZone: deps.projects.cacheZoneOf(project) };
  const { action, digest, blob } = actionFor(planned, inputRoot, scope);
  const entry = action.doNotCache || task.bypassCache ? undefined : await actionCache.get(digest, signal);
  if (entry !== undefined) {
    const { result } = entry;
    const outcome = { ...(await outcomeOfResult(cas, task.planned, result, signal)), cached: true };
    const made = { outcome: { ...outcome, actionDigest: digestToMessage(digest) }, result };
    const done = await withGeneratedTasks(deps, state, task, made, signal);
    const command = { kind: "finish", task: task.name, ...done } as const;
    return { kind: "cached", command };
  }
  const [command] = await Promise.all([
    readMessage(cas, CommandSchema, digestFromMessage(action.commandDigest), signal),
    cas.writeMany([blob], signal),
  ]);
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
  if (planned.deployment !== undefined)
    return await releaseOf(
      cas,
      planned.uses.map((use) => artifactFor(state, name, use)),
      signal,
    );
  const uses = planned.uses.map((use) => ({ path: use.path, node: nodeOf(artifactFor(state, name, use)) }));
  const tree = buildTree(graftArtifacts(await loadTree(cas, declared, signal), uses));
  await cas.writeMany([...tree.directories.values()], signal);
  return tree.root;
}

/** A deployment is for the agent that its environment is tied to, and for no other. */
async function placed(
  { environments, onNoAgent }: Pick<PrepareDeps, "environments" | "onNoAgent">,
  { project }: RunState,
  { planned }: TaskState,
  signal: AbortSignal,
): Promise<PlannedTask> {
  if (planned.deployment === undefined) return planned;
  const wish = { project, platform: planned.platform, onWait: onNoAgent };
  const agent = await environments.bind(planned.deployment.environment, wish, signal);
  return create(PlannedTaskSchema, {
    ...planned,
    platform: create(PlatformSchema, { properties: [{ name: "agent", value: agent }] }),
  });
}

/** The release is the artifact itself, so that the digest that was verified is the digest that serves. */
async function releaseOf(cas: Cas, artifacts: readonly Artifact[], signal: AbortSignal): Promise<Digest> {
  const [artifact] = artifacts;
  if (artifact === undefined) throw new MillraceError("internal", "a deployment without an artifact");
  const node = nodeOf(artifact);
  if (node.kind === "directory") return node.digest;
  const tree = buildTree([{ path: artifact.path.slice(artifact.path.lastIndexOf("/") + 1), node }]);
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
