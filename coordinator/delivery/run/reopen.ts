import { RunStatus, TaskStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { Decision } from "./decision.ts";
import { settle } from "./progress.ts";
import type { ReopenTasks } from "./run-command.ts";
import type { RunState } from "./run-state.ts";
import { tasksNamed } from "./task-named.ts";
import { isOpen, type TaskState } from "./task-state.ts";

/**
 * Tasks that have ended are executed once more, and all that need them; what else there is goes on as if nothing had
 * happened. A gate that needs one of them opens anew: whatever was decided there was about other artifacts.
 * @throws MillraceError as `changeRun`
 */
export function reopenTasks(decision: Decision, command: ReopenTasks): void {
  const { state, record } = decision;
  const refuse = (why: string) => new MillraceError("failed_precondition", `${state.run} ${why}`);
  if (state.status === RunStatus.RUNNING && state.cancelReason !== undefined) {
    throw refuse("is being cancelled: wait for its end");
  }
  const { named, again } = tasksToReopen(state, command);
  if (named.size === 0)
    throw refuse(
      "has no task that failed or was cancelled: name those to execute again (`millrace retry RUN --from TASK`)",
    );
  for (const task of named) requireAgain(state, task);
  const busy = [...again].find((task) => task.status === TaskStatus.QUEUED || task.status === TaskStatus.RUNNING);
  if (busy !== undefined)
    throw refuse(`cannot open what ${busy.name} needs while that is ${doing(busy)}: wait for its end`);

  for (const { tasks, avoidAgents } of byAvoidedAgents(named, command)) {
    const names = tasks.map(({ name }) => name);
    const value = { tasks: names, named: names, avoidAgents: [...avoidAgents], bypassCache: command.bypassCache };
    record({ case: "tasksReopened", value });
  }
  const others = [...again].filter((task) => !named.has(task)).map(({ name }) => name);
  if (others.length > 0) record({ case: "tasksReopened", value: { tasks: others } });
  settle(decision, again);
}

/** Those that are wanted, and with them all that need one of them; both in the order of the plan. */
export function tasksToReopen(state: RunState, command: ReopenTasks) {
  const named = chosen(state, command);
  return { named, again: withDependants(state, named) };
}

function chosen(state: RunState, { tasks }: ReopenTasks): Set<TaskState> {
  const asked = new Set(tasks.flatMap((name) => tasksNamed(state, name)));
  const isWanted = (task: TaskState) => (tasks.length === 0 ? isToMend(task) : asked.has(task));
  return new Set([...state.tasks.values()].filter(isWanted));
}

function isToMend({ status, planned }: TaskState): boolean {
  return status === TaskStatus.CANCELLED || (status === TaskStatus.FAILED && !planned.allowFailure);
}

function requireAgain({ run }: RunState, task: TaskState): void {
  if (isOpen(task)) {
    throw new MillraceError("failed_precondition", `${task.name} of ${run} has not ended: it is ${doing(task)}`);
  }
  if (task.try < limits.taskTriesMax) return;
  throw new MillraceError("resource_exhausted", `${task.name} of ${run} was tried ${task.try} times: start a new run`);
}

/** In the plan, needs come before those that need them. */
function withDependants(state: RunState, named: ReadonlySet<TaskState>): Set<TaskState> {
  const again = new Set<TaskState>();
  for (const task of state.tasks.values()) {
    if (named.has(task)) again.add(task);
    if (!again.has(task)) continue;
    for (const name of state.dependants.get(task.name) ?? []) {
      const dependant = state.tasks.get(name);
      if (dependant !== undefined) again.add(dependant);
    }
  }
  return new Set([...state.tasks.values()].filter((task) => again.has(task)));
}

/** Each with the agents that it must not get: with `avoidLastAgent`, not the same for all. */
function byAvoidedAgents(named: ReadonlySet<TaskState>, { avoidAgents, avoidLastAgent }: ReopenTasks) {
  const groups = new Map<string, { readonly tasks: TaskState[]; readonly avoidAgents: readonly string[] }>();
  for (const task of named) {
    const last = avoidLastAgent ? lastAgentOf(task) : "";
    const avoided = [...new Set(last === "" ? avoidAgents : [...avoidAgents, last])].sort();
    const key = JSON.stringify(avoided);
    const group = groups.get(key) ?? { tasks: [], avoidAgents: avoided };
    group.tasks.push(task);
    groups.set(key, group);
  }
  return groups.values();
}

/** Empty when no agent ever had it. */
function lastAgentOf({ agent, tries }: TaskState): string {
  return agent === "" ? (tries.findLast((past) => past.agent !== "")?.agent ?? "") : agent;
}

function doing({ status }: TaskState): string {
  if (status === TaskStatus.RUNNING) return "running";
  return status === TaskStatus.QUEUED ? "queued" : "waiting";
}
