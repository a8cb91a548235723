import { z } from "zod";
import { readGateTimeout, readTimeout } from "./duration.ts";
import { readGlob } from "./glob.ts";
import {
  readApprover,
  readBoolean,
  readGateText,
  readGateWord,
  readHttpUrl,
  readLabel,
  readName,
  readPriority,
  readScript,
  readText,
  readTool,
  readToolVersion,
  readVariable,
} from "./reading.ts";
import { readApprovals } from "./reading-policies.ts";
import { readRelativePath } from "./relative-path.ts";
import { items, scalar } from "./schema-parts.ts";
import { concurrency, concurrencyGroup, gateField, retry, retryPolicy, secrets, secretUse } from "./schema-policies.ts";

// The shape of a pipeline file. Scalars arrive as text (see yaml-source.ts); here they get their meaning. Whether names
// refer to something is the business of references.ts.

const name = scalar(readName);
const label = scalar(readLabel);
const environment = z.record(scalar(readVariable), scalar(readText));
const tools = z.record(scalar(readTool), scalar(readToolVersion));
const agents = z.record(label, label);
const timeout = scalar(readTimeout);
const caches = z.record(name, scalar(readRelativePath));
const reference = z.string();
const glob = scalar((text) => {
  const reading = readGlob(text);
  return "wrong" in reading ? reading : { value: text };
});

const use = z.strictObject({ artifact: reference, path: scalar(readRelativePath).optional() });

const task = z
  .strictObject({
    run: scalar(readScript),
    needs: z.array(reference).optional(),
    inputs: z.array(glob).optional(),
    outputs: z.record(name, scalar(readRelativePath)).optional(),
    use: z.array(z.preprocess((item) => (typeof item === "string" ? { artifact: item } : item), use)).optional(),
    env: environment.optional(),
    timeout: timeout.optional(),
    agents: agents.optional(),
    tools: tools.optional(),
    caches: caches.optional(),
    cache: scalar(readBoolean).optional(),
    idempotent: scalar(readBoolean).optional(),
    priority: scalar(readPriority).optional(),
    retry: retry.optional(),
    allow_failure: scalar(readBoolean).optional(),
    concurrency: concurrency.optional(),
    secrets: secrets.optional(),
    generates: scalar(readBoolean).optional(),
  })
  .refine(({ cache, idempotent }) => !(cache === true && idempotent === false), {
    path: ["cache"],
    message: "cannot be true where `idempotent` is false: what must happen each time is not answered from the cache",
  });

const manual = z.strictObject({
  title: scalar(readGateText),
  checklist: items(scalar(readGateText)).optional(),
  approvers: items(scalar(readApprover)).optional(),
  approvals: scalar(readApprovals).optional(),
  author_may_approve: scalar(readBoolean).optional(),
  fields: z.record(name, gateField).optional(),
  evidence: scalar(readBoolean).optional(),
  timeout: scalar(readGateTimeout).optional(),
  on_timeout: scalar(readGateWord).optional(),
});

const probe = z.strictObject({ http: scalar(readHttpUrl), timeout: timeout.optional() });

const deploy = z.strictObject({
  environment: name,
  use: z.tuple([reference], "must name exactly one artifact: the release"),
  start: scalar(readScript),
  env: environment.optional(),
  probe,
});

const stage = z.strictObject({
  needs: z.array(reference).optional(),
  tasks: z.record(name, task).optional(),
  manual: manual.optional(),
  deploy: deploy.optional(),
});

const defaults = z.strictObject({
  agents: agents.optional(),
  tools: tools.optional(),
  caches: caches.optional(),
  env: environment.optional(),
  timeout: timeout.optional(),
  retry: retry.optional(),
});

export const pipelineShape = z.strictObject({
  name,
  concurrency: concurrency.optional(),
  defaults: defaults.optional(),
  stages: z.record(name, stage),
});

export type PipelineShape = z.output<typeof pipelineShape>;
export type TaskShape = z.output<typeof task>;
export type ManualShape = z.output<typeof manual>;
export type DeployShape = z.output<typeof deploy>;
export type RetryShape = z.output<typeof retryPolicy>;
export type ConcurrencyShape = z.output<typeof concurrencyGroup>;

/** One kind of mapping in the file: what it is called, its keys, and those that a later version will have. */
export interface Level {
  readonly title: string;
  readonly keys: readonly string[];
  readonly later: readonly string[];
}

const laterEverywhere = ["services", "params", "when", "finally"];

type Kind =
  | ("pipeline" | "defaults" | "stage" | "manual" | "field" | "task" | "retry" | "concurrency" | "secret" | "use")
  | ("deploy" | "probe");

/** From the outside in. */
export const levels: { readonly [kind in Kind]: Level } = {
  pipeline: {
    title: "the pipeline",
    keys: Object.keys(pipelineShape.shape),
    later: [...laterEverywhere, "on", "include", "templates", "environments", "notify"],
  },
  defaults: { title: "defaults", keys: Object.keys(defaults.shape), later: [...laterEverywhere, "priority", "cache"] },
  stage: {
    title: "a stage",
    keys: Object.keys(stage.shape),
    later: [...laterEverywhere, "gates", "matrix", "retry", "concurrency", "secrets"],
  },
  manual: { title: "a manual stage", keys: Object.keys(manual.shape), later: [] },
  task: {
    title: "a task",
    keys: Object.keys(task.shape),
    later: [
      ...laterEverywhere,
      ...["matrix", "shards", "reports", "gates", "network", "image", "resources"],
      ...["sandbox", "on"],
    ],
  },
  retry: { title: "a retry policy", keys: Object.keys(retryPolicy.shape), later: [] },
  concurrency: { title: "a concurrency group", keys: Object.keys(concurrencyGroup.shape), later: [] },
  secret: { title: "a secret", keys: Object.keys(secretUse.shape), later: [] },
  field: { title: "a field of a form", keys: Object.keys(gateField.shape), later: [] },
  use: { title: "a used artifact", keys: Object.keys(use.shape), later: [] },
  deploy: {
    title: "a deploy",
    keys: Object.keys(deploy.shape),
    later: ["strategy", "hosts", "timeout", "windows", "analysis", "secrets", "concurrency"],
  },
  probe: { title: "a probe", keys: Object.keys(probe.shape), later: ["tcp", "exec"] },
};
