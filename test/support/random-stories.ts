import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import type { RunCommand } from "../../coordinator/delivery/run/run-command.ts";
import {
  ArtifactUseSchema,
  type ConcurrencyGroup,
  ConcurrencyGroupSchema,
  EndingKind,
  ManualGateSchema,
  type PlannedTask,
  WaitCause,
} from "../../proto/gen/millrace/v1/event_pb.ts";
import { end, exit, plannedTask, start, submit } from "./story.ts";

/** A plan, and what is said about it in this order; much of it makes no sense when it comes, as in life. */
export interface RandomStory {
  readonly tasks: readonly PlannedTask[];
  readonly concurrency: ConcurrencyGroup | undefined;
  readonly commands: readonly RunCommand[];
}

const admin = { name: "token:admin", role: "admin" } as const;

/** What a task may be, beside ordinary. */
const kinds = fc.constantFrom<Parameters<typeof plannedTask>[2]>(
  ...[{}, {}, {}, { allowFailure: true }, { always: true }, { when: "run.failed" }, { conditionUnmet: "no" }],
  ...[{ retry: { retries: 1 } }, { retry: { retries: 2, exitCodes: [1] }, always: true }],
  { gate: create(ManualGateSchema, { title: "Look" }) },
);

/** A random graph whose edges go back only. */
const plans = fc
  .array(fc.tuple(fc.array(fc.nat(), { maxLength: 3 }), kinds, fc.boolean()), { minLength: 1, maxLength: 10 })
  .map((drawn) =>
    drawn.map(([edges, kind = {}, isUsing], index) => {
      const needs = index === 0 ? [] : [...new Set(edges.map((edge) => `t${edge % index}`))];
      const [first] = needs;
      const uses =
        first === undefined || !isUsing
          ? []
          : [create(ArtifactUseSchema, { task: `s/${first}`, artifact: "app", path: "app" })];
      return plannedTask(`t${index}`, needs, { ...kind, uses });
    }),
  );

/** Random plans with random stories. */
export const randomStories: fc.Arbitrary<RandomStory> = plans.chain((tasks) => {
  const name = fc.constantFrom(...tasks.map((task) => task.name));
  const round = fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined });
  const late = (command: RunCommand, of: number | undefined) =>
    of === undefined ? command : { ...command, round: of };
  const asked = fc.array(name, { maxLength: 2 });
  const command = fc.oneof(
    { weight: 5, arbitrary: fc.tuple(name, round).map(([task, of]) => submit(task, of)) },
    {
      weight: 3,
      arbitrary: fc.tuple(name, fc.integer({ min: 1, max: 3 })).map(([task, n]) => start(task, `a${n}`, n)),
    },
    {
      weight: 8,
      arbitrary: fc
        .tuple(name, fc.constantFrom(0, 0, 1, 2), fc.boolean(), round)
        .map(([task, code, leaves, of]) => late(exit(task, code, leaves ? ["app"] : []), of)),
    },
    name.map((task) => end(task, EndingKind.CANCELLED)),
    name.map((task): RunCommand => ({ kind: "wait", task: `s/${task}`, cause: WaitCause.AGENTS_BUSY, detail: "" })),
    name.map((task): RunCommand => ({ kind: "hold-back", task: `s/${task}` })),
    name.map((task): RunCommand => ({ kind: "retry-due", task: `s/${task}` })),
    name.map((task): RunCommand => ({ kind: "open-gate", task: `s/${task}` })),
    name.map((task): RunCommand => ({ kind: "gate-timeout", task: `s/${task}` })),
    name.map((task): RunCommand => ({ kind: "skip", task, reason: "", by: admin })),
    asked.chain((some) =>
      fc.record({ avoidLastAgent: fc.boolean(), bypassCache: fc.boolean() }).map((how): RunCommand => {
        return { kind: "reopen", tasks: some, avoidAgents: [], ...how };
      }),
    ),
    fc.constantFrom<RunCommand>(
      ...([{ kind: "cancel", reason: "enough" }, { kind: "pause", reason: "" }, { kind: "resume" }] as const),
      ...([
        { kind: "comment", task: "", text: "well" },
        { kind: "pin", reason: "" },
        { kind: "cancel-overdue" },
      ] as const),
    ),
  );
  const concurrency = fc.option(fc.constant(create(ConcurrencyGroupSchema, { name: "main" })), { nil: undefined });
  return fc.record({ tasks: fc.constant(tasks), concurrency, commands: fc.array(command, { maxLength: 80 }) });
});
