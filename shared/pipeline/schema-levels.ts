import { defaults, deploy, last, manual, pipelineShape, probe, stage } from "./schema.ts";
import { param, ready, refs, service, triggers } from "./schema-language.ts";
import { concurrencyGroup, gateField, retryPolicy, secretUse } from "./schema-policies.ts";
import { task, template, use } from "./schema-task.ts";

/** One kind of mapping in the file: what it is called, its keys, and those that a later version will have. */
export interface Level {
  readonly title: string;
  readonly keys: readonly string[];
  readonly later: readonly string[];
}

type Kind =
  | ("pipeline" | "defaults" | "stage" | "manual" | "field" | "task" | "retry" | "concurrency" | "secret" | "use")
  | ("deploy" | "probe" | "template" | "param" | "service" | "last" | "trigger" | "ready" | "refs");

/** From the outside in. */
export const levels: { readonly [kind in Kind]: Level } = {
  pipeline: {
    title: "the pipeline",
    keys: Object.keys(pipelineShape.shape),
    later: ["environments", "notify"],
  },
  defaults: { title: "defaults", keys: Object.keys(defaults.shape), later: ["cache"] },
  stage: {
    title: "a stage",
    keys: Object.keys(stage.shape),
    later: ["gates", "matrix", "retry", "concurrency", "secrets"],
  },
  manual: { title: "a manual stage", keys: Object.keys(manual.shape), later: [] },
  task: {
    title: "a task",
    keys: Object.keys(task.shape),
    later: ["reports", "gates", "network", "image", "resources", "sandbox"],
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
  template: { title: "a template", keys: Object.keys(template.shape), later: [] },
  param: { title: "a parameter", keys: Object.keys(param.shape), later: [] },
  service: { title: "a service", keys: Object.keys(service.shape), later: ["image"] },
  ready: { title: "ready", keys: Object.keys(ready.shape), later: [] },
  refs: { title: "a trigger", keys: Object.keys(refs.shape), later: [] },
  last: { title: "finally", keys: Object.keys(last.shape), later: [] },
  trigger: { title: "on", keys: Object.keys(triggers.shape), later: [] },
  probe: { title: "a probe", keys: Object.keys(probe.shape), later: ["tcp", "exec"] },
};
