import { create, toBinary } from "@bufbuild/protobuf";
import type { Digest } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  type BoundArtifact,
  BoundArtifactSchema,
  type GateBinding,
  GateBindingSchema,
  type PlannedTask,
  RunPlannedSchema,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import { digestOf, digestToMessage } from "../../../shared/digest.ts";
import type { RunState } from "./run-state.ts";
import type { TaskState } from "./task-state.ts";

/**
 * What a decision is about: the source, every artifact of the tasks that the gate needs, directly or not, and what the run
 * does after it.
 */
export function bindingOf(state: RunState, gate: TaskState): { readonly bound: GateBinding; readonly digest: Digest } {
  const artifacts: BoundArtifact[] = [];
  const seen = new Set<string>();
  const ahead = [...gate.planned.needs];
  for (let name = ahead.pop(); name !== undefined; name = ahead.pop()) {
    const task = state.tasks.get(name);
    if (task === undefined || seen.has(name)) continue;
    seen.add(name);
    ahead.push(...task.planned.needs);
    for (const { name: artifact, content, isExecutable } of task.outcome?.artifacts ?? []) {
      if (content.case === undefined) continue;
      const isDirectory = content.case === "directory";
      const init = { name: artifact, task: task.name, digest: content.value, isDirectory, isExecutable };
      artifacts.push(create(BoundArtifactSchema, init));
    }
  }
  // Names are unique in a pipeline, so this is one order; UTF-16 order is as good as any, as long as it is always the same.
  artifacts.sort((a, b) => (a.name < b.name ? -1 : 1));
  const { source } = state;
  const about = { artifacts, plan: planOf(state, gate) };
  const bound = create(GateBindingSchema, { ...about, ...(source === undefined ? {} : { source }) });
  return { bound, digest: digestToMessage(digestOf(toBinary(GateBindingSchema, bound))) };
}

/**
 * Of the tasks that need the gate, directly or not, in the order of the plan. Kept with the gate: a run of 20,000 tasks is
 * looked at often, and what is planned for it seldom changes.
 */
function planOf(state: RunState, gate: TaskState): Digest {
  const known = gate.gate?.plan;
  if (known?.plans === state.plans) return known.digest;
  const after = new Set<string>();
  const ahead = [gate.name];
  for (let name = ahead.pop(); name !== undefined; name = ahead.pop()) {
    for (const dependant of state.dependants.get(name) ?? []) {
      if (after.has(dependant)) continue;
      after.add(dependant);
      ahead.push(dependant);
    }
  }
  const tasks: PlannedTask[] = [];
  for (const [name, { planned }] of state.tasks) if (after.has(name)) tasks.push(planned);
  const digest = digestToMessage(digestOf(toBinary(RunPlannedSchema, create(RunPlannedSchema, { tasks }))));
  if (gate.gate !== undefined) gate.gate.plan = { digest, plans: state.plans };
  return digest;
}
