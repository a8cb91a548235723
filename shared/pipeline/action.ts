import { create, type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import {
  type Action,
  ActionSchema,
  Command_OutputDirectoryFormat,
  CommandSchema,
  type Platform,
  PlatformSchema,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ActionSaltSchema, type PlannedTask } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Blob } from "../cas/cas.ts";
import { type Digest, digestOf, digestToMessage } from "../digest.ts";
import { compareUtf8 } from "../merkle/tree-path.ts";
import type { Task } from "./pipeline.ts";
import { argumentsOf } from "./services.ts";
import { toolProperty } from "./tool-property.ts";

/**
 * The Action of a planned task on its final input root: the declared inputs, with used artifacts in place. Its digest is
 * the key of the action cache, so everything in it is canonical and nothing in it names a run or a task.
 */
export function actionFor(
  planned: PlannedTask,
  inputRoot: Digest,
  scope: ActionScope = { project: "default", cacheZone: "" },
): { action: Action; digest: Digest; blob: Blob } {
  const action = create(ActionSchema, {
    inputRootDigest: digestToMessage(inputRoot),
    doNotCache: planned.doNotCache,
    ...(planned.commandDigest === undefined ? {} : { commandDigest: planned.commandDigest }),
    ...(planned.timeout === undefined ? {} : { timeout: planned.timeout }),
    ...(planned.platform === undefined ? {} : { platform: planned.platform }),
    ...saltOf(planned, scope),
  });
  const blob = messageBlob(ActionSchema, action);
  return { action, digest: blob.digest, blob };
}

/** Who shares what an Action gives. */
export interface ActionScope {
  /** Part of the key of a task that uses secrets: what one project's gave is no result for another. */
  readonly project: string;
  /** Results are shared within a zone; the empty one is the farm's common zone. */
  readonly cacheZone: string;
}

/** What caches and secrets are called and where they are, never what is in them; and who may share the result. */
function saltOf({ caches, secrets }: PlannedTask, { project, cacheZone }: ActionScope): { salt?: Uint8Array } {
  if (caches.length === 0 && secrets.length === 0 && cacheZone === "") return {};
  const salt = create(ActionSaltSchema, {
    caches: [...caches].sort((a, b) => compareUtf8(a.name, b.name)),
    cacheZone,
    ...(secrets.length === 0 ? {} : { project, secrets: secrets.toSorted((a, b) => compareUtf8(a.env, b.env)) }),
  });
  return { salt: toBinary(ActionSaltSchema, salt) };
}

/** What a task runs, where it does not depend on the source. Lists are sorted, as REAPI asks for of canonical Commands. */
export function commandBlob(task: Task): Blob {
  const { generates } = task;
  const paths = task.outputs.map((output) => output.path);
  const command = create(CommandSchema, {
    arguments: argumentsOf(task),
    environmentVariables: sortedPairs(
      generates === undefined ? task.env : { ...task.env, MILLRACE_GENERATE: generates },
    ),
    outputPaths: [...new Set(generates === undefined ? paths : [...paths, generates])].sort(compareUtf8),
    // Artifacts are put into other trees by their root Directory, so the Directories must be in the CAS; the Tree is for
    // clients that expect one.
    outputDirectoryFormat: Command_OutputDirectoryFormat.TREE_AND_DIRECTORY,
  });
  return messageBlob(CommandSchema, command);
}

/** What an agent must offer, labels and exact tools; undefined when any will do, so that saying nothing has one encoding only. */
export function platformOf(
  { agents }: Pick<Task, "agents">,
  toolFingerprints: Readonly<Record<string, string>>,
): Platform | undefined {
  const asked: Record<string, string> = { ...agents };
  for (const [name, fingerprint] of Object.entries(toolFingerprints)) asked[toolProperty(name)] = fingerprint;
  const properties = sortedPairs(asked);
  return properties.length === 0 ? undefined : create(PlatformSchema, { properties });
}

function sortedPairs(record: Readonly<Record<string, string>>): { name: string; value: string }[] {
  return Object.entries(record)
    .sort(([a], [b]) => compareUtf8(a, b))
    .map(([name, value]) => ({ name, value }));
}

function messageBlob<Schema extends DescMessage>(schema: Schema, message: MessageShape<Schema>): Blob {
  const data = toBinary(schema, message);
  return { digest: digestOf(data), data };
}
