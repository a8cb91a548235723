import { expect, test } from "vitest";
import type { ExecutionTable } from "../../../../coordinator/farm/scheduler/execution-table.ts";
import { ReportOutcome } from "../../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { inProcessBus } from "../../../../shared/bus/in-process-bus.ts";
import { MillraceError } from "../../../../shared/errors.ts";
import { limits } from "../../../../shared/limits.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { execution, startSchedulerFarm } from "../../../support/scheduler-farm.ts";

// The disk of the coordinator fails at one call, for each of the calls in the life of an execution.

/** The table, with one of its writes failing; `calls` counts them, `left` is what is on disk. */
function failingTable(failing: number) {
  let left: () => Promise<unknown[]> = async () => [];
  const tally = { calls: 0, writing: 0, left: () => left() };
  const maybe =
    <Args extends unknown[]>(write: (...args: Args) => Promise<void>) =>
    async (...args: Args) => {
      tally.calls += 1;
      if (tally.calls === failing) throw new MillraceError("resource_exhausted", `write ${failing} finds no room`);
      tally.writing += 1;
      await write(...args).finally(() => {
        tally.writing -= 1;
      });
    };
  const wrap = (table: ExecutionTable): ExecutionTable => {
    left = table.load;
    return {
      load: table.load,
      insert: maybe(table.insert),
      lease: maybe(table.lease),
      finish: maybe(table.finish),
      remove: maybe(table.remove),
    };
  };
  return { tally, wrap };
}

/** A farm of two agents that beat as time passes. */
async function startFarm(failing: number) {
  const { tally, wrap } = failingTable(failing);
  const clock = fakeClock();
  const errors: unknown[] = [];
  const farm = await startSchedulerFarm({
    ...{ clock, broker: inProcessBus(clock), decorate: wrap },
    onError: (error: unknown) => void errors.push(error),
  });
  const agents = [await farm.agent({ id: "a" }), await farm.agent({ id: "b" })];

  /** Lets time pass until the promise has settled, so that whoever waits to try again does. */
  async function inTime<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const done = promise.finally(() => {
      settled = true;
    });
    done.catch(() => {}); // it is awaited below
    for (let passedMs = 0; !settled; passedMs++) {
      if (tally.writing === 0) clock.advance(1); // the disk is real, and takes none of this time
      if (passedMs % limits.heartbeatIntervalMs === 0) for (const agent of agents) agent.heartbeat();
      await new Promise((resolve) => setImmediate(resolve));
    }
    return await done;
  }

  /** As its caller does: again, when it fails. */
  async function again<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await inTime(work());
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      errors.push(error);
      return await inTime(work());
    }
  }

  return { ...farm, agents, tally, errors, inTime, again };
}

/** One execution from its submission until it is forgotten; the number of writes. */
async function life(failing: number): Promise<number> {
  const { scheduler, agents, tally, errors, inTime, again, next } = await startFarm(failing);
  let ends = 0;
  scheduler.subscribe((update) => {
    if (update.kind === "finished") ends += 1;
  });
  await again(() => scheduler.submit(execution("x")));
  const assigned = agents.map(async (agent) => ({ agent, assign: await agent.nextAssign() }));
  const { agent, assign } = await inTime(Promise.race(assigned));
  expect(await again(() => agent.report(assign))).toBe(ReportOutcome.ACCEPTED);
  const { outcome } = await inTime(next("x", "finished"));
  expect(outcome).toMatchObject({ ending: { kind: EndingKind.EXITED, exitCode: 0 }, attempt: assign.attempt });
  await again(() => scheduler.forget("x"));
  expect(ends).toBe(1);
  expect(errors.length > 0).toBe(failing > 0);
  expect(scheduler.stats()).toMatchObject({ queued: 0, running: 0 });
  expect(await tally.left()).toEqual([]);
  return tally.calls;
}

test("whichever write fails once, an execution ends right and once, and leaves nothing", async () => {
  const calls = await life(0);
  expect(calls).toBeGreaterThanOrEqual(4);
  for (let failing = 1; failing <= calls; failing++) await life(failing);
});
