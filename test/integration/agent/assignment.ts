import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { ActionSchema, CommandSchema } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  type Assign,
  type AssignSchema,
  type HostOperationSchema,
  SecretValueSchema,
} from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import { memoryCas } from "../../../shared/cas/memory-cas.ts";
import { putMessage } from "../../../shared/cas/read-blob.ts";
import { type Digest, digestOf, digestToMessage } from "../../../shared/digest.ts";
import { buildTree } from "../../../shared/merkle/build-tree.ts";
import { sealSecrets } from "../../../shared/sealing/sealed-secrets.ts";

/** An Action in short. Files end in `!` when they are executable. */
export interface ActionSpec {
  readonly command: readonly string[];
  readonly inputs?: Readonly<Record<string, string>>;
  readonly outputs?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly volatile?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  readonly workingDirectory?: string;
  /** Sends Action, Command and inputs with the assignment and puts none of them into the store. */
  readonly inline?: boolean;
  /** Makes it a host operation. */
  readonly operation?: MessageInitShape<typeof HostOperationSchema>;
  /** Paths of named caches by their names. */
  readonly caches?: Readonly<Record<string, string>>;
  /** Whose caches they are; default `shop`. */
  readonly project?: string;
  /** Platform properties. */
  readonly platform?: Readonly<Record<string, string>>;
  /** Values by the variables that hold them; a name that ends in `!` is given as a file. */
  readonly secrets?: Readonly<Record<string, string | Uint8Array>>;
  /** Inputs that the farm shall not have. */
  readonly withheld?: readonly string[];
}

/** The assignment of an Action in short; what it needs is put into the store, or sent with it. */
export async function assignment(
  cas: Cas,
  executionId: string,
  spec: ActionSpec,
  number: bigint,
): Promise<MessageInitShape<typeof AssignSchema>> {
  const store = spec.inline === true ? memoryCas() : cas;
  const sent: { digest: Digest; data: Uint8Array }[] = [];
  const put = async (data: Uint8Array) => {
    const digest = digestOf(data);
    sent.push({ digest, data });
    await store.writeMany([{ digest, data }]);
    return digest;
  };
  const entries = await Promise.all(
    Object.entries(spec.inputs ?? {}).map(async ([path, text]) => {
      const data = Buffer.from(text);
      const digest = spec.withheld?.includes(path) === true ? digestOf(data) : await put(data);
      return { path: path.replace(/!$/, ""), node: { kind: "file" as const, digest, executable: path.endsWith("!") } };
    }),
  );
  const tree = buildTree(entries);
  for (const { data } of tree.directories.values()) await put(data);
  const command = create(CommandSchema, {
    arguments: [...spec.command],
    environmentVariables: Object.entries(spec.environment ?? {}).map(([name, value]) => ({ name, value })),
    outputPaths: [...(spec.outputs ?? [])].sort(),
    workingDirectory: spec.workingDirectory ?? "",
  });
  const commandDigest = await put(toBinary(CommandSchema, command));
  const action = create(ActionSchema, {
    commandDigest: digestToMessage(commandDigest),
    inputRootDigest: digestToMessage(tree.root),
    ...(spec.timeoutMs === undefined ? {} : { timeout: durationFromMs(spec.timeoutMs) }),
    platform: { properties: pairs(spec.platform).map(([name, value]) => ({ name, value })) },
  });
  const actionDigest = await putMessage(store, ActionSchema, action);
  sent.push({ digest: actionDigest, data: toBinary(ActionSchema, action) });
  return {
    executionId,
    epoch: { term: 1n, number },
    attempt: 1,
    actionDigest: digestToMessage(actionDigest),
    blobs: spec.inline === true ? sent.map(({ digest, data }) => ({ digest: digestToMessage(digest), data })) : [],
    volatileEnvironment: { ...spec.volatile },
    ...(spec.caches === undefined
      ? {}
      : {
          namedCaches: {
            project: spec.project ?? "shop",
            caches: pairs(spec.caches).map(([name, path]) => ({ name, path })),
          },
        }),
    ...(spec.operation === undefined ? {} : { hostOperation: spec.operation }),
  };
}

/** Each secret is named as its variable, in small letters. */
export function sealed(key: Uint8Array, agentId: string, assign: Assign, secrets: NonNullable<ActionSpec["secrets"]>) {
  const { executionId, epoch } = assign;
  if (epoch === undefined) throw new Error("an assignment without an epoch");
  const values = Object.entries(secrets).map(([name, value]) => {
    const env = name.replace(/!$/, "");
    const use = { secret: env.toLowerCase().replaceAll("_", "-"), env, file: name.endsWith("!") };
    return create(SecretValueSchema, { use, value: Buffer.from(value) });
  });
  return sealSecrets(key, { agentId, executionId, epoch }, values);
}

function pairs(record: Readonly<Record<string, string>> = {}): [string, string][] {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
}
