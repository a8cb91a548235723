import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { taskStatusLabel, waitCauseCode } from "../../cli/output/labels.ts";
import { decide } from "../../coordinator/delivery/run/decide.ts";
import type { Origin, RunCommand } from "../../coordinator/delivery/run/run-command.ts";
import { emptyRun, type RunState } from "../../coordinator/delivery/run/run-state.ts";
import type { TaskState } from "../../coordinator/delivery/run/task-state.ts";
import {
  type ConcurrencyGroup,
  EndingKind,
  type Event,
  type PlannedTask,
  PlannedTaskSchema,
  TaskStatus,
} from "../../proto/gen/millrace/v1/event_pb.ts";
import { digestToMessage, emptyDigest } from "../../shared/digest.ts";

const digest = digestToMessage(emptyDigest);

/** A run that a test tells what happens to. */
export interface Story {
  readonly state: RunState;
  readonly events: Event[];
  /** Gives the events that follow. */
  do(command: RunCommand, nowMs?: number): Event[];
  task(name: string): TaskState;
  /** Of all tasks in the order of the plan, as `show --json` has them. */
  statuses(): string[];
  /** Why each waits, as `why --json` has it; undefined of one that does not. */
  causes(): (string | undefined)[];
}

type Planned = MessageInitShape<typeof PlannedTaskSchema>;

/** A task of the stage `s`, which needs tasks of the same. */
export function plannedTask(name: string, needs: readonly string[] = [], more: Planned = {}): PlannedTask {
  return create(PlannedTaskSchema, { stage: "s", name, needs: needs.map((need) => `s/${need}`), ...more });
}

/** A run of these tasks, just requested by `token:anna`; as a whole it may be in a group. */
export function startStory(tasks: readonly PlannedTask[], concurrency?: ConcurrencyGroup): Story {
  const state = emptyRun("run_1");
  const events: Event[] = [];
  const story: Story = {
    state,
    events,
    do(command, nowMs = 1_000) {
      const origin: Origin = { principal: "token:anna", project: "default", traceparent: "", nowMs };
      const followed = decide(state, command, origin);
      events.push(...followed);
      return followed;
    },
    task(name) {
      const task = state.tasks.get(`s/${name}`);
      if (task === undefined) throw new Error(`the story has no task ${name}`);
      return task;
    },
    statuses: () => [...state.tasks.values()].map(({ status }) => taskStatusLabel(status)),
    causes: () =>
      [...state.tasks.values()].map(({ wait }) => (wait === undefined ? undefined : waitCauseCode(wait.cause))),
  };
  const asked = { kind: "request", pipeline: "p", pipelinePath: "millrace.yaml", idempotencyKey: "" } as const;
  story.do({ ...asked, source: digest, tasks, concurrency });
  return story;
}

export const submit = (task: string, round?: number): RunCommand => ({
  ...{ kind: "submit", task: `s/${task}`, actionDigest: digest, executionId: `x.${task}.${round ?? 0}` },
  ...(round === undefined ? {} : { round }),
});

export const start = (task: string, agent = "a", attempt = 1): RunCommand => {
  return { kind: "start", task: `s/${task}`, attempt, agent, executionId: `x.${task}` };
};

/** It ends by itself with this exit code. */
export const exit = (task: string, exitCode = 0, artifacts: readonly string[] = []): RunCommand => ({
  kind: "finish",
  task: `s/${task}`,
  outcome: {
    status: exitCode === 0 ? TaskStatus.SUCCEEDED : TaskStatus.FAILED,
    ending: { kind: EndingKind.EXITED, exitCode },
    artifacts: artifacts.map((name) => ({ name, task: `s/${task}`, content: { case: "file", value: digest } })),
  },
});

/** It ends in another way. */
export const end = (task: string, kind: EndingKind, signal = ""): RunCommand => {
  const status = kind === EndingKind.CANCELLED ? TaskStatus.CANCELLED : TaskStatus.FAILED;
  return { kind: "finish", task: `s/${task}`, outcome: { status, ending: { kind, signal } } };
};
