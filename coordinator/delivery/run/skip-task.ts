import { RunStatus, TaskStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import type { Decision } from "./decision.ts";
import { follow } from "./progress.ts";
import type { ChangeRun } from "./run-command.ts";
import { requireText, taskNamed } from "./task-named.ts";
import { isOpen } from "./task-state.ts";

/** Who may say that nobody need decide. */
const gateSkippers: readonly string[] = ["operator", "admin"];

/** A person leaves a task out that no agent has yet. @throws MillraceError as `changeRun` */
export function skipTask(decision: Decision, { task: asked, reason, by }: Extract<ChangeRun, { kind: "skip" }>): void {
  const { state, record } = decision;
  requireText(reason, "a reason");
  const task = taskNamed(state, asked);
  const refuse = (why: string) => new MillraceError("failed_precondition", `${task.name} of ${state.run} ${why}`);
  if (task.planned.gate !== undefined && !gateSkippers.includes(by.role)) {
    const who = gateSkippers.join(" or ");
    throw new MillraceError(
      "permission_denied",
      `${by.name} may not skip the gate ${task.name}: a token with the role ${who} may`,
    );
  }
  if (state.status !== RunStatus.RUNNING || !isOpen(task)) throw refuse("has ended: there is nothing to skip");
  if (task.status === TaskStatus.RUNNING) throw refuse(`runs on ${task.agent}: only what no agent has can be skipped`);
  const why = `skipped by ${by.name}${reason === "" ? "" : `: ${reason}`}`;
  record({ case: "taskSkipped", value: { task: task.name, reason: why, passed: true } });
  follow(decision, task);
}
