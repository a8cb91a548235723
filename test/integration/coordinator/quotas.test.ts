import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { expect, onTestFinished, test } from "vitest";
import { storedEnvironments } from "../../../coordinator/delivery/environment/environments.ts";
import { openProjects } from "../../../coordinator/delivery/project/stored-projects.ts";
import { approvedCandidates } from "../../../coordinator/delivery/run/approved-candidates.ts";
import { RunEngine } from "../../../coordinator/delivery/run/run-engine.ts";
import { runSummaries } from "../../../coordinator/delivery/run/run-summaries.ts";
import type { Asker } from "../../../coordinator/delivery/run/runs.ts";
import { sqliteActionCache } from "../../../coordinator/farm/action-cache/sqlite-action-cache.ts";
import { coordinatorSchema } from "../../../coordinator/schema.ts";
import { sqliteEventStore } from "../../../coordinator/store/sqlite-event-store.ts";
import { ProjectQuotasSchema, ProjectSchema, RunStatus, WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { RunRequestSchema } from "../../../proto/gen/millrace/v1/run_pb.ts";
import { memoryCas } from "../../../shared/cas/memory-cas.ts";
import { digestOf } from "../../../shared/digest.ts";
import { buildTree } from "../../../shared/merkle/build-tree.ts";
import { openSqlite } from "../../../shared/sqlite/open.ts";
import { turns } from "../../../shared/turns.ts";
import { startSchedulerFarm } from "../../support/scheduler-farm.ts";
import { tempDir } from "../../support/temp-dir.ts";

const asker: Asker = { principal: { name: "token:test", role: "admin" }, traceparent: "" };
const signal = new AbortController().signal;
const cas = memoryCas();

/** The runs of a coordinator, with quotas that a test says; a `dir` of an earlier one makes it a restart. */
async function startRuns(quotas: MessageInitShape<typeof ProjectQuotasSchema>, dir = tempDir()) {
  const farm = await startSchedulerFarm({ dir });
  const sqlite = await openSqlite({ path: join(dir, "runs.db"), schema: coordinatorSchema });
  const { scheduler, agents, clock } = farm;
  let stopped = false;
  /** What is under way when a coordinator stops is done again by the next one. */
  const onError = (error: unknown): void => {
    if (!stopped) expect.unreachable(String(error));
  };
  const store = sqliteEventStore({ sqlite });
  const summaries = runSummaries({ sqlite, store, clock, onError });
  const actionCache = sqliteActionCache({ sqlite, clock });
  const environments = storedEnvironments({ store, agents, clock });
  const watchers = new Set<() => void>();
  const unfinishedRuns = () => runs.active().length;
  const projects = await openProjects({ store, clock, unfinishedRuns, secretsOf: () => 0 });
  const project = create(ProjectSchema, { name: "default", quotas: create(ProjectQuotasSchema, quotas) });
  await projects.set(asker, project, projects.get("default").etag);
  const candidates = approvedCandidates({ sqlite, store, clock, onError });
  const runs: RunEngine = new RunEngine({
    ...{ store, summaries, cas, actionCache, scheduler, environments, clock, onError, pinning: turns() },
    secrets: { missing: () => [], subscribe: () => () => undefined },
    ...{ projects, candidates },
    evaluations: { evaluate: () => expect.unreachable("no pipeline of this test is in TypeScript") },
    offers: () => [],
    onEvent: () => queueMicrotask(() => watchers.forEach((look) => look())),
  });
  await summaries.start?.();
  await candidates.start?.();
  await runs.start();
  const stop = async (): Promise<void> => {
    if (stopped) return;
    stopped = true;
    await runs.stop();
    await candidates.stop?.();
    await summaries.stop?.();
    await farm.stop();
    await sqlite.close();
  };
  onTestFinished(stop);
  return {
    ...{ farm, runs, stop, dir },
    /** Tasks `t0`, `t1`, … of one stage; none of them is answered from the cache. */
    async submit(tasks: number, priority = 0) {
      const lines = Array.from(
        { length: tasks },
        (_, n) => `t${n}: { run: echo ${n}, cache: false, priority: ${priority} }`,
      );
      const data = Buffer.from(`name: p\nstages: { s: { tasks: { ${lines.join(", ")} } } }\n`);
      const digest = digestOf(data);
      const tree = buildTree([{ path: "millrace.yaml", node: { kind: "file", digest, executable: false } }]);
      await cas.writeMany([{ digest, data }, ...tree.directories.values()], signal);
      return await runs.submit(asker, create(RunRequestSchema, {}), tree, { signal });
    },
    /** Resolves when what is asked for is so. */
    until(holds: () => Promise<boolean>): Promise<void> {
      return new Promise((resolve, reject) => {
        const look = (): void => {
          holds().then((is) => {
            if (!is) return;
            watchers.delete(look);
            resolve();
          }, reject);
        };
        watchers.add(look);
        look();
      });
    },
  };
}

type StartedRuns = Awaited<ReturnType<typeof startRuns>>;

async function causesOf({ runs }: StartedRuns, run: string) {
  return (await runs.get(run)).tasks.map(({ wait }) => wait?.cause);
}

async function waitFor(started: StartedRuns, run: string, cause: WaitCause, count: number): Promise<void> {
  await started.until(async () => (await causesOf(started, run)).filter((one) => one === cause).length === count);
}

test("a project runs as many tasks as its quota says, shared between its runs, also after a restart", async () => {
  const before = await startRuns({ runningTasks: 2 });
  const large = await before.submit(5);
  await waitFor(before, large, WaitCause.QUOTA, 3);
  const small = await before.submit(1);
  await waitFor(before, small, WaitCause.QUOTA, 1);
  const [task] = (await before.runs.get(small)).tasks;
  expect(task?.wait?.detail).toBe(`the project default may run 2 tasks at a time and runs 2, of ${large}; 4 wait`);
  await before.stop();

  const after = await startRuns({ runningTasks: 2 }, before.dir);
  const agent = await after.farm.agent({ id: "a", slots: 10 });
  const given: string[] = [];
  const next = async () => {
    const assign = await agent.nextAssign();
    given.push(assign.executionId);
    return assign;
  };
  const first = [await next(), await next()];
  expect((await causesOf(after, large)).filter((cause) => cause === WaitCause.QUOTA)).toHaveLength(3);
  for (const assign of first) await agent.report(assign);
  // Both runs have none running: first come, first served. Then the small one has its turn before the large one.
  for (let count = 0; count < 4; count += 1) await agent.report(await next());
  expect(given.slice(0, 4)).toContain(`${small}.s.t0`);
  expect(new Set(given).size).toBe(6);
  for (const run of [large, small]) {
    await after.until(async () => (await after.runs.get(run)).status === RunStatus.SUCCEEDED);
  }
});

test("a run more than the quota is refused, until one has finished; at once as one after the other", async () => {
  const started = await startRuns({ unfinishedRuns: 2 });
  const submits = await Promise.allSettled(Array.from({ length: 6 }, () => started.submit(1)));
  const names = submits.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  expect(names).toHaveLength(2);
  await expect(started.submit(1)).rejects.toMatchObject({
    code: "resource_exhausted",
    message: expect.stringContaining("the project default has 2 unfinished runs, and its quota is 2"),
  });
  await started.runs.cancel(asker, names[0] ?? "", "enough");
  await started.until(async () => (await started.runs.get(names[0] ?? "")).status === RunStatus.CANCELLED);
  expect(await started.submit(1)).toMatch(/^run_\d+$/);
});

test("no task has a greater priority than its project may give", async () => {
  const started = await startRuns({ priorityMax: 3 });
  const agent = await started.farm.agent({ id: "a", slots: 1 });
  const first = await started.submit(1);
  const running = await agent.nextAssign();
  const greedy = [await started.submit(1, 3), await started.submit(1, 900)];
  for (const run of greedy) await waitFor(started, run, WaitCause.AGENTS_BUSY, 1);
  expect(running.executionId).toBe(`${first}.s.t0`);
  await agent.report(running);
  // Both count as 3, so the one that was first is first.
  const second = await agent.nextAssign();
  expect(second.executionId).toBe(`${greedy[0]}.s.t0`);
});
