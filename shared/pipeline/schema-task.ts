import { z } from "zod";
import { limits } from "../limits.ts";
import { readTimeout } from "./duration.ts";
import {
  readBoolean,
  readLabel,
  readName,
  readPriority,
  readScript,
  readText,
  readTool,
  readToolVersion,
  readVariable,
} from "./reading.ts";
import { wholeNumber } from "./reading-policies.ts";
import { readRelativePath } from "./relative-path.ts";
import { changes, condition, glob, matrix, params, services } from "./schema-language.ts";
import { scalar } from "./schema-parts.ts";
import { concurrency, retry, secrets } from "./schema-policies.ts";

// The shape of a task. The sentence at each key is what the language reference and editors say of it.

export const name = scalar(readName);
const label = scalar(readLabel);
export const environment = z.record(scalar(readVariable), scalar(readText));
export const tools = z.record(scalar(readTool), scalar(readToolVersion));
export const agents = z.record(label, label);
export const timeout = scalar(readTimeout);
export const caches = z.record(name, scalar(readRelativePath));
export const priority = scalar(readPriority);
/** A name that references.ts looks up. */
export const reference = z.string();

export const use = z.strictObject({
  artifact: reference.describe("The name of an artifact of another task."),
  path: scalar(readRelativePath)
    .optional()
    .describe("Where it lands in the working directory; its name unless it says otherwise."),
});

const keys = {
  run: scalar(readScript).describe("The script, for `/bin/sh -e`, in a folder that holds the inputs and nothing else."),
  needs: z
    .array(reference)
    .optional()
    .describe("Tasks of the same stage that must succeed first; a task with variants means all of them."),
  inputs: z.array(glob).optional().describe("Globs of the files that the task reads; without it, the whole source."),
  outputs: z
    .record(name, scalar(readRelativePath))
    .optional()
    .describe("What it makes, as name and path; names are unique in the pipeline."),
  use: z
    .array(z.preprocess((item) => (typeof item === "string" ? { artifact: item } : item), use))
    .optional()
    .describe("Artifacts of other tasks that it reads; `app-*` is every artifact whose name begins so."),
  env: environment.optional().describe("Variables of its process; part of the key under which its result is kept."),
  timeout: timeout.optional().describe("How long it may run, for example 10m; an hour unless it says otherwise."),
  agents: agents.optional().describe("Labels that its agent must have."),
  tools: tools.optional().describe("Programs that it runs with, by the beginning of their version; part of the key."),
  caches: caches.optional().describe("Folders that an agent keeps for the tasks that follow, as name and path."),
  cache: scalar(readBoolean).optional().describe("false: it is executed each time, whatever ran before."),
  idempotent: scalar(readBoolean)
    .optional()
    .describe("false: what it does must not happen twice, so the farm never starts it again by itself."),
  priority: priority
    .optional()
    .describe(
      "From -1000 to 1000; greater goes first. That of its stage, then of the pipeline, unless it says otherwise.",
    ),
  retry: retry.optional().describe("How often, and after which endings, it is tried again when it failed by itself."),
  allow_failure: scalar(readBoolean).optional().describe("true: its failure fails neither the run nor what needs it."),
  concurrency: concurrency
    .optional()
    .describe("A group of which no more than some may run at one time, in the whole project."),
  secrets: secrets.optional().describe("Secrets of the project that its process is given, by variable."),
  generates: scalar(readBoolean)
    .optional()
    .describe("true: it writes more tasks for its stage to the file that `MILLRACE_GENERATE` names."),
  when: condition.optional().describe("It runs only when this CEL expression is true."),
  changes: changes.optional().describe("It runs only when something changed that one of these globs names."),
  matrix: matrix.optional().describe("One task for each combination of these values, which it reads as `matrix.name`."),
  shards: scalar(wholeNumber(1, limits.runTasks))
    .optional()
    .describe("So many tasks of which each does its part: MILLRACE_SHARD_INDEX of MILLRACE_SHARD_COUNT."),
  template: reference.optional().describe("The template whose keys it has unless it says otherwise."),
  with: z.record(z.string(), z.string()).optional().describe("Values of the template's parameters."),
  services: services.optional().describe("Programs that run beside its script, such as a database, and end with it."),
};

export const task = z.strictObject(keys).refine(({ cache, idempotent }) => !(cache === true && idempotent === false), {
  path: ["cache"],
  message: "cannot be true where `idempotent` is false: what must happen each time is not answered from the cache",
});

const anyKeys = Object.fromEntries(
  Object.entries(keys).map(([key, shape]) => [
    key,
    z
      .unknown()
      .optional()
      .describe(shape.description ?? ""),
  ]),
);
/** A template is looked at as a whole where a task has it; alone, its keys are. */
export const template = z.strictObject({
  ...anyKeys,
  params: params.optional().describe("What tasks give it in `with`, and its scripts and values read as `with.name`."),
});

export type TaskShape = z.output<typeof task>;
