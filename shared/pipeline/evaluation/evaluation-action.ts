import { create, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Action,
  type Command,
  Command_OutputDirectoryFormat,
  CommandSchema,
  PlatformSchema,
} from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { PlannedTaskSchema } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Blob } from "../../cas/cas.ts";
import { type Digest, digestOf, digestToMessage } from "../../digest.ts";
import { limits } from "../../limits.ts";
import { buildTree } from "../../merkle/build-tree.ts";
import type { TreeEntry } from "../../merkle/tree-entry.ts";
import { type ActionScope, actionFor } from "../action.ts";
import { networkVariable } from "../network-variable.ts";
import { ownNodeTool } from "../own-node-tool.ts";
import type { Problem } from "../pipeline.ts";
import type { OfferedTool, ToolOffer } from "../resolve-tools.ts";
import { toolProperty } from "../tool-property.ts";
import { evaluationScript, evaluatorFiles, pipelineOutput, sourceFolder } from "./evaluator.ts";

export interface EvaluationRequest {
  /** Path of the pipeline file in the source. */
  readonly file: string;
  /** All that it may read, by paths in the source. */
  readonly inputs: readonly TreeEntry[];
  /** The Node that evaluates it. */
  readonly node: Pick<OfferedTool, "name" | "fingerprint">;
  readonly scope: ActionScope;
}

/** An evaluation, ready to be executed. */
export interface EvaluationAction {
  readonly digest: Digest;
  readonly action: Action;
  readonly command: Command;
  /** What it refers to beside the files of the source, and the Action itself. */
  readonly blobs: readonly Blob[];
}

/** Pure, and canonical like the Action of a task: the same inputs and the same Node are the same key. */
export function evaluationAction({ file, inputs, node, scope }: EvaluationRequest): EvaluationAction {
  const own = Object.entries(evaluatorFiles).map(([path, text]) => ({
    path,
    blob: blobOf(new TextEncoder().encode(text)),
  }));
  const tree = buildTree([
    ...own.map(
      ({ path, blob: { digest } }): TreeEntry => ({ path, node: { kind: "file", digest, executable: false } }),
    ),
    ...inputs.map((entry) => ({ ...entry, path: `${sourceFolder}/${entry.path}` })),
  ]);
  const command = create(CommandSchema, {
    arguments: ["/bin/sh", "-e", "-c", evaluationScript(file, node.name)],
    environmentVariables: [{ name: networkVariable, value: "none" }],
    outputPaths: [pipelineOutput],
    outputDirectoryFormat: Command_OutputDirectoryFormat.TREE_AND_DIRECTORY,
  });
  const commandBlob = blobOf(toBinary(CommandSchema, command));
  const planned = create(PlannedTaskSchema, {
    commandDigest: digestToMessage(commandBlob.digest),
    platform: create(PlatformSchema, { properties: [{ name: toolProperty(node.name), value: node.fingerprint }] }),
    timeout: durationFromMs(limits.evaluationTimeoutMs),
  });
  const { action, digest, blob } = actionFor(planned, tree.root, scope);
  const blobs = [...own.map((one) => one.blob), ...tree.directories.values(), commandBlob, blob];
  return { digest, action, command, blobs };
}

function blobOf(data: Uint8Array): Blob {
  return { digest: digestOf(data), data };
}

/**
 * The Node that evaluates a file, as the agents have them at this moment: one that an agent runs on itself, else one that a
 * machine has, the newest; or why there is none.
 */
export function chooseNode(file: string, offers: readonly ToolOffer[]): OfferedTool | Problem {
  const all = [ownNodeTool, "node"].flatMap((node) =>
    offers.flatMap(({ tools }) => tools.filter(({ name }) => name === node)).toSorted(newestFirst),
  );
  const chosen = all.find(({ version }) => Number.parseInt(version, 10) >= limits.evaluatorNodeMajor);
  if (chosen !== undefined) return chosen;
  const versions = [...new Set(all.map(({ version }) => version))].toSorted(order.compare).join(", ");
  const wanted = `node ${limits.evaluatorNodeMajor} or later`;
  const have = versions === "" ? "see `millrace agents`" : `they have node ${versions}`;
  return {
    ...{ file, line: 1, column: 1 },
    message: `no connected agent offers ${wanted}, which evaluates this pipeline file`,
    hint: `${have}; install it on the machine of one, or name it with \`millrace agent --tool\``,
  };
}

const order = new Intl.Collator("en", { numeric: true });

function newestFirst(a: OfferedTool, b: OfferedTool): number {
  return order.compare(`${b.version} ${b.fingerprint}`, `${a.version} ${a.fingerprint}`);
}
