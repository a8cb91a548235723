import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { AgentChange, AgentRecord } from "../../../../../coordinator/farm/agents/agent-registry.ts";
import type { Lease } from "../../../../../coordinator/farm/scheduler/execution-table.ts";
import { FarmScheduler } from "../../../../../coordinator/farm/scheduler/farm-scheduler.ts";
import type { ExecutionOutcome, ExecutionRequest } from "../../../../../coordinator/farm/scheduler/scheduler.ts";
import { AgentInfoSchema, AgentState } from "../../../../../proto/gen/millrace/v1/agent_pb.ts";
import { ReportSchema } from "../../../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind } from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { inProcessBus } from "../../../../../shared/bus/in-process-bus.ts";
import { subjects } from "../../../../../shared/bus/subjects.ts";
import { digestOf } from "../../../../../shared/digest.ts";
import { limits } from "../../../../../shared/limits.ts";
import { fakeClock } from "../../../../support/fake-clock.ts";
import { execution } from "../../../../support/scheduler-farm.ts";

/** What happens; numbers are taken modulo what there is. */
type Step =
  | { readonly kind: "submit"; readonly action: number; readonly priority: number }
  | { readonly kind: "cancel"; readonly who: number }
  | { readonly kind: "report"; readonly who: number; readonly ending: "success" | "failure" | "infrastructure" }
  | { readonly kind: "agent goes and comes back" };

const steps = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant("submit" as const), action: fc.nat(2), priority: fc.nat(2) }),
    },
    fc.record({ kind: fc.constant("cancel" as const), who: fc.nat() }),
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant("report" as const),
        who: fc.nat(),
        ending: fc.constantFrom("success" as const, "failure" as const, "infrastructure" as const),
      }),
    },
    fc.record({ kind: fc.constant("agent goes and comes back" as const) }),
  ),
  { maxLength: 30 },
);

const endings = {
  success: { kind: EndingKind.EXITED, exitCode: 0 },
  failure: { kind: EndingKind.EXITED, exitCode: 1 },
  infrastructure: { kind: EndingKind.INFRASTRUCTURE, detail: "the disk is full" },
} as const;

/** A process that an agent runs now. */
interface Process {
  readonly request: ExecutionRequest;
  readonly lease: Lease;
  cancelled: boolean;
}

/** A scheduler whose neighbours answer at once: one agent with two slots that does what the test says. */
async function simulation() {
  const clock = fakeClock();
  const broker = inProcessBus();
  const bus = broker.connect();
  const agentBus = broker.connect();
  const info = create(AgentInfoSchema, { id: "a", slots: 2 });
  const agent: AgentRecord = { info, state: AgentState.ONLINE, heard: true, lastHeartbeatMs: 0 };
  const hear = new Set<(change: AgentChange) => void>();
  const processes: Process[] = [];
  /** Of each Action, the ends that counted, by the id of the execution. */
  const counted = new Map<string, EndingKind>();
  const finished = new Map<string, ExecutionOutcome>();
  const runsAs = new Map<string, string>();
  const cancelled = new Set<string>();
  const doing = async () => {};
  const scheduler = new FarmScheduler({
    bus,
    agents: {
      list: () => [agent],
      subscribe(listener) {
        hear.add(listener);
        return () => hear.delete(listener);
      },
      join: () => Promise.reject(new Error("not asked for")),
      drain: () => Promise.reject(new Error("not asked for")),
      remove: doing,
    },
    dispatcher: {
      async assign(request, lease) {
        const same = processes.filter(
          (one) => !one.cancelled && one.request.actionDigest.hash === request.actionDigest.hash,
        );
        expect(same, "two processes for one Action").toEqual([]);
        processes.push({ request, lease, cancelled: false });
        return { kind: "accepted" };
      },
      async cancel(_agent, executionId, epoch) {
        const process = processes.find(({ request, lease }) => request.id === executionId && lease.epoch === epoch);
        if (process !== undefined) process.cancelled = true;
        const wanting = [...runsAs].filter(([id, as]) => as === executionId && !cancelled.has(id) && !finished.has(id));
        expect(wanting, "somebody still wants it").toEqual([]);
      },
    },
    table: { load: async () => [], insert: doing, lease: doing, finish: doing, remove: doing },
    clock,
    term: 1,
    keep: doing,
    attemptEnded: doing,
    onError: (error) => expect.unreachable(String(error)),
  });
  scheduler.subscribe((update) => {
    if (update.kind === "started") runsAs.set(update.id, update.execution);
    if (update.kind !== "finished") return;
    expect(finished.has(update.id), `${update.id} is told its end twice`).toBe(false);
    finished.set(update.id, update.outcome);
  });
  await scheduler.start();

  async function report(process: Process, ending: (typeof endings)[keyof typeof endings]): Promise<void> {
    const { request, lease } = process;
    processes.splice(processes.indexOf(process), 1);
    const epoch = { term: BigInt(lease.epoch.term), number: BigInt(lease.epoch.number) };
    const report = create(ReportSchema, { agentId: "a", executionId: request.id, epoch, ending, result: {} });
    await agentBus.request(subjects.report("a"), toBinary(ReportSchema, report), { timeoutMs: 5_000 });
    counted.set(request.id, ending.kind);
    // It has rested from its failures.
    clock.advance(limits.agentRestMaxMs);
    await settled();
  }

  return {
    ...{ scheduler, processes, finished, counted, runsAs, cancelled, report },
    submitted: [] as string[],
    /** All that it held is lost, and it is there again at once. */
    async goAndComeBack() {
      processes.splice(0);
      for (const listener of hear) listener({ kind: "left", agent });
      for (const listener of hear) listener({ kind: "joined", agent });
      await settled();
    },
  };
}

/** Neighbours answer in this turn of the loop, the bus in the next. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

type Simulation = Awaited<ReturnType<typeof simulation>>;

async function take(sim: Simulation, step: Step): Promise<void> {
  const { scheduler, processes, finished, cancelled, submitted } = sim;
  if (step.kind === "submit") {
    const id = `x${submitted.length}`;
    submitted.push(id);
    const actionDigest = digestOf(Buffer.from(`action ${step.action}`));
    await scheduler.submit(execution(id, { actionDigest, priority: step.priority }));
  } else if (step.kind === "cancel") {
    const open = submitted.filter((id) => !finished.has(id) && !cancelled.has(id));
    const id = open[step.who % Math.max(1, open.length)];
    if (id === undefined) return;
    cancelled.add(id);
    scheduler.cancel(id, "enough");
  } else if (step.kind === "report") {
    const process = processes[step.who % Math.max(1, processes.length)];
    if (process !== undefined) await sim.report(process, endings[step.ending]);
  } else await sim.goAndComeBack();
  await settled();
  for (const { request, cancelled: isEnding } of processes) {
    const wanting = [...sim.runsAs].filter(([id, as]) => as === request.id && !cancelled.has(id));
    expect(isEnding, `${request.id} runs for ${wanting.length}`).toBe(wanting.length === 0);
  }
}

test("whatever happens, an Action in flight runs once, and each who asked is told one end, of the process it shared", async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (all) => {
      const sim = await simulation();
      for (const step of all) await take(sim, step);
      for (let left = 0; left < all.length && sim.processes.length > 0; left += 1) {
        for (const process of [...sim.processes]) await sim.report(process, endings.success);
      }
      expect(sim.scheduler.stats()).toMatchObject({ queued: 0, running: 0 });
      expect([...sim.finished.keys()].sort()).toEqual([...sim.submitted].sort());
      for (const [id, { ending, attempt }] of sim.finished) {
        const runsAs = sim.runsAs.get(id);
        if (sim.cancelled.has(id)) continue;
        if (runsAs === undefined) {
          // It came after the end, and only a success is worth having then.
          expect(ending).toMatchObject(endings.success);
        } else if (ending.kind === EndingKind.EXITED) {
          expect(sim.counted.get(runsAs)).toBe(EndingKind.EXITED);
        } else {
          // Neither a lost agent nor a failure of the farm is the end, before the budget for them is used up.
          expect([EndingKind.AGENT_LOST, EndingKind.INFRASTRUCTURE]).toContain(ending.kind);
          expect(attempt).toBe(limits.infrastructureAttempts);
        }
      }
      for (const id of sim.submitted) {
        if (!sim.cancelled.has(id)) expect(sim.finished.get(id)?.ending.kind).not.toBe(EndingKind.CANCELLED);
      }
      await sim.scheduler.stop();
    }),
  );
});
