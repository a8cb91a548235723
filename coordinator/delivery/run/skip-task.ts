import { TaskStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import type { Decision } from "./decision.ts";
import { follow } from "./progress.ts";
import type { ChangeRun } from "./run-command.ts";
import type { RunState } from "./run-state.ts";
import { requireText, tasksNamed } from "./task-named.ts";
import { isOpen, type TaskState } from "./task-state.ts";

/** Who may say that nobody need decide. */
const gateSkippers: readonly string[] = ["operator", "admin"];

/**
 * A person leaves a task out that no agent has yet; of one with variants, all of those that no agent has.
 * @throws MillraceError as `changeRun`
 */
export function skipTask(decision: Decision, { task: asked, reason, by }: Extract<ChangeRun, { kind: "skip" }>): void {
  const { state, record } = decision;
  requireText(reason, "a reason");
  const named = tasksNamed(state, asked);
  const gate = named.find(({ planned }) => planned.gate !== undefined);
  if (gate !== undefined && !gateSkippers.includes(by.role)) {
    const who = gateSkippers.join(" or ");
    throw new MillraceError(
      "permission_denied",
      `${by.name} may not skip the gate ${gate.name}: a token with the role ${who} may`,
    );
  }
  const left = named.filter((task) => isOpen(task) && task.status !== TaskStatus.RUNNING);
  if (left.length === 0) throw new MillraceError("failed_precondition", whyNone(state, named));
  const why = `skipped by ${by.name}${reason === "" ? "" : `: ${reason}`}`;
  for (const { name } of left) record({ case: "taskSkipped", value: { task: name, reason: why, passed: true } });
  follow(decision, ...left);
}

function whyNone({ run }: RunState, named: readonly TaskState[]): string {
  const running = named.find(({ status }) => status === TaskStatus.RUNNING);
  if (running !== undefined) {
    return `${running.name} of ${run} runs on ${running.agent}: only what no agent has can be skipped`;
  }
  const names = named.map(({ name, planned }) => (named.length === 1 ? name : planned.madeFrom));
  return `${names[0]} of ${run} has ended: there is nothing to skip`;
}
