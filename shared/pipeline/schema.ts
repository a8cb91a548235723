import { z } from "zod";
import { readGateTimeout } from "./duration.ts";
import { readApprover, readBoolean, readGateText, readGateWord, readHttpUrl, readScript } from "./reading.ts";
import { readApprovals } from "./reading-policies.ts";
import { changes, condition, include, params, triggers } from "./schema-language.ts";
import { items, scalar } from "./schema-parts.ts";
import { concurrency, type concurrencyGroup, gateField, retry, type retryPolicy } from "./schema-policies.ts";
import {
  agents,
  caches,
  environment,
  name,
  priority,
  reference,
  task,
  template,
  timeout,
  tools,
} from "./schema-task.ts";

// The shape of a pipeline file. Scalars arrive as text (see yaml-value.ts); here they get their meaning. Whether names
// refer to something is the business of references.ts. What is written out before (expand.ts) has its shape here as well:
// where that is wrong it was left as it is.

export const manual = z.strictObject({
  title: scalar(readGateText).describe("What is to be decided, for a person."),
  checklist: items(scalar(readGateText))
    .optional()
    .describe("What to look at before deciding: each item has to be ticked before the gate is approved."),
  approvers: items(scalar(readApprover))
    .optional()
    .describe("Who may decide: names of tokens, and roles; without it, everybody who may submit runs."),
  approvals: scalar(readApprovals)
    .optional()
    .describe("How many different people must approve; 1 unless it says otherwise."),
  author_may_approve: scalar(readBoolean).optional().describe("Whether who asked for the run may be one of them."),
  fields: z.record(name, gateField).optional().describe("What an approver fills in."),
  evidence: scalar(readBoolean).optional().describe("true: somebody must have added evidence before."),
  timeout: scalar(readGateTimeout)
    .optional()
    .describe("How long it waits for a decision; a week unless it says otherwise."),
  on_timeout: scalar(readGateWord)
    .optional()
    .describe("What it comes to when nobody decided in time: reject, or approve."),
});

export const probe = z.strictObject({
  http: scalar(readHttpUrl).describe("Where the app answers with a status of 200 to 299 when it serves."),
  timeout: timeout.optional().describe("From its start; past it the deployment has failed."),
});

export const deploy = z.strictObject({
  environment: name.describe("Where it goes."),
  use: z.tuple([reference], "must name exactly one artifact: the release").describe("The artifact that is deployed."),
  start: scalar(readScript).describe("The script that the host keeps running, in the folder of the release."),
  env: environment.optional().describe("Variables of its process."),
  probe: probe.describe("How it is known to serve."),
});

const tasks = z.record(name, task);
export const last = z.strictObject({
  tasks: tasks.describe("Tasks that run after all others, however they ended, by name."),
  when: condition.optional().describe("They run only when this CEL expression is true; it may speak of `run`."),
});

export const stage = z.strictObject({
  needs: z.array(reference).optional().describe("Stages that must succeed first."),
  when: condition.optional().describe("Its tasks run only when this CEL expression is true."),
  changes: changes.optional().describe("Its tasks run only when something changed that one of these globs names."),
  priority: priority.optional().describe("Of its tasks that state none."),
  tasks: tasks.optional().describe("Its tasks, by name."),
  manual: manual.optional().describe("A person decides here whether the run goes on."),
  deploy: deploy.optional().describe("An app is deployed here."),
  finally: z
    .strictObject({ tasks: tasks.describe("Its tasks, by name.") })
    .optional()
    .describe("Tasks that run when all others of the stage have ended, however."),
});

export const defaults = z.strictObject({
  agents: agents.optional().describe("Labels that agents of all tasks must have."),
  tools: tools.optional().describe("Programs that all tasks run with."),
  caches: caches.optional().describe("Named caches of all tasks."),
  env: environment.optional().describe("Variables of all tasks."),
  timeout: timeout.optional().describe("The time-out of tasks that state none."),
  retry: retry.optional().describe("The retry policy of tasks that state none."),
  concurrency: concurrency.optional().describe("The concurrency group of tasks that state none."),
});

export const pipelineShape = z.strictObject({
  name: name.describe("The pipeline's name."),
  include: include.optional().describe("Files of the source whose keys it has, unless it says otherwise."),
  on: triggers.optional().describe("What starts runs by itself. It is checked and kept; nothing starts by it yet."),
  params: params.optional().describe("What is asked of who starts a run; read as `params.name`."),
  templates: z.record(name, template).optional().describe("Tasks, or parts of them, for others to build on."),
  concurrency: concurrency
    .optional()
    .describe("A group of which no more than some runs may be in progress at one time."),
  priority: priority.optional().describe("Of tasks whose stage states none, either."),
  defaults: defaults.optional().describe("What holds for all tasks that do not say otherwise."),
  stages: z.record(name, stage).describe("The stages, by name, each an angle of quality."),
  finally: last
    .optional()
    .describe("Tasks that run at the end, however the run went; they become the stage `finally`."),
});

export type PipelineShape = z.output<typeof pipelineShape>;
export type ManualShape = z.output<typeof manual>;
export type DeployShape = z.output<typeof deploy>;
export type RetryShape = z.output<typeof retryPolicy>;
export type ConcurrencyShape = z.output<typeof concurrencyGroup>;
