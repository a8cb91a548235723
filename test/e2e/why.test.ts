import { join } from "node:path";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Client, createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { waitCauseCode } from "../../cli/output/labels.ts";
import { AgentService } from "../../proto/gen/millrace/v1/agent_pb.ts";
import { WaitCause } from "../../proto/gen/millrace/v1/event_pb.ts";
import { RunService } from "../../proto/gen/millrace/v1/run_pb.ts";
import { limits } from "../../shared/limits.ts";
import { grpcTransport } from "../../shared/rpc/grpc-transport.ts";
import { eventOf } from "../support/events.ts";
import { project, startFarm, type TestFarm } from "../support/farm.ts";
import { pidOf } from "../support/farm-processes.ts";
import { submitText } from "../support/runs.ts";

// Every cause for which a task may wait for long, brought about on one farm: one agent with one slot. Each must be told
// within a second of when it came to be.

let farm: TestFarm;
let runs: Client<typeof RunService>;
let agents: Client<typeof AgentService>;
let transport: ReturnType<typeof grpcTransport>;
beforeAll(async () => {
  farm = await startFarm({ agents: 1, slots: 1 });
  transport = grpcTransport({ address: farm.grpc, token: farm.token });
  runs = createClient(RunService, transport);
  agents = createClient(AgentService, transport);
  // What a farm has to do for its very first task is not what is measured.
  const run = await submit('stages: { s: { tasks: { t: { run: "true", inputs: [] } } } }');
  await eventOf({ runs }, run, ({ case: kind }) => kind === "runFinished");
});
afterAll(async () => {
  transport.close();
  await farm.remove();
});

const boundMs = 1_000;

/** A matter of moments; and what no task waits for. */
const passing: readonly WaitCause[] = [WaitCause.UNSPECIFIED, WaitCause.PREPARING, WaitCause.PLACING, WaitCause.RERUN];

const causes = new Map(
  Object.values(WaitCause).flatMap((cause) =>
    typeof cause === "string" || passing.includes(cause) ? [] : [[waitCauseCode(cause), cause]],
  ),
);

/** Codes that were told in time. */
const told = new Set<string>();

interface Reason {
  readonly task: string;
  readonly code: string;
  readonly detail: string;
}

/** What `why` says of the tasks of a run, by their names. */
async function reasons(run: string): Promise<ReadonlyMap<string, Reason>> {
  const { stdout, stderr } = await farm.cli(["why", run, "--json"]);
  if (stdout === "") throw new Error(stderr);
  const { waiting } = JSON.parse(stdout) as { waiting: readonly Reason[] };
  return new Map(waiting.map((reason) => [reason.task, reason]));
}

/** Resolves when the task waits for this, or for nothing; the ways there are a matter of moments. */
async function comesTo(run: string, task: string, cause: WaitCause | undefined): Promise<void> {
  const look = async () => {
    const { tasks = [] } = (await runs.getRun({ run })).run ?? {};
    expect(tasks.find(({ stage, name }) => `${stage}/${name}` === task)?.wait?.cause).toBe(cause);
  };
  await vi.waitFor(look, { timeout: 10_000, interval: 20 });
}

/** When a cause came to be, by the clock that this process has in common with the coordinator; `asked`: with its run. */
type Moment = "asked" | number | (() => Promise<number>);

/**
 * Expects to hear in time of each of these tasks that it waits for this. Nobody starts a process meanwhile: on a busy machine
 * that alone may take longer than the coordinator is given.
 * @param codes by task
 * @param since is asked, where it is a function, when the answer has come
 */
async function areTold(run: string, codes: Readonly<Record<string, string>>, since: Moment = "asked"): Promise<void> {
  let askedMs = Number.NaN;
  const heardMs = new Map<string, number>();
  await eventOf({ runs }, run, ({ case: kind, value }, { time }) => {
    if (kind === "runRequested" && time !== undefined) askedMs = timestampMs(time);
    if (kind !== "taskWaiting" || value.wait?.cause !== causes.get(codes[value.task] ?? "")) return false;
    heardMs.set(value.task, heardMs.get(value.task) ?? Date.now());
    return heardMs.size === Object.keys(codes).length;
  });
  const sinceMs = since === "asked" ? askedMs : typeof since === "number" ? since : await since();
  for (const [task, code] of Object.entries(codes)) {
    const lateMs = (heardMs.get(task) ?? Number.NaN) - sinceMs;
    expect(lateMs, `${task}: ${code}`).toBeGreaterThanOrEqual(0);
    expect(lateMs, `${task}: ${code}`).toBeLessThan(boundMs);
    told.add(code);
  }
}

/** The reason that `why` gives of a task that was told of it in time. */
async function reasonOf(run: string, task: string, code: string, since?: Moment): Promise<Reason> {
  await areTold(run, { [task]: code }, since);
  const reason = (await reasons(run)).get(task);
  expect(reason).toMatchObject({ code });
  return reason as Reason;
}

const submit = (text: string, start: { readonly project?: string } = {}) =>
  submitText({ runs }, `name: p\n${text}`, start);

/** Its machines take for ever to start. */
const slowPool = `case $1 in
  add) grep -o '"id":"[^"]*"' | sed 's/"id"://' >> "$0.ids" ;;
  remove) rm -f "$0.ids" ;;
  list) printf '{"agents":[%s]}' "$(paste -sd, "$0.ids")" ;;
esac
`;

let held: string;

describe("why", () => {
  it("says retry-delay of a task that failed and is tried again", async () => {
    const task = "{ run: date +%s%3N; exit 3, inputs: [], retry: { times: 2, delay: 1h } }";
    const run = await submit(`stages: { s: { tasks: { again: ${task} } } }`);
    const failed = async () => Number((await farm.cli(["logs", run, "s/again", "--try", "1"])).stdout);
    const { detail } = await reasonOf(run, "s/again", "retry-delay", failed);
    expect(detail).toBe("retry 1 of 2 begins 1h after the try before exited with 3");
    await runs.cancelRun({ run });
  });

  it("says of everything in a run what it waits for", async () => {
    const slow = ["--provider", "exec", "--command", "/bin/sh", join(project({ "slow.sh": slowPool }), "slow.sh")];
    expect((await farm.cli(["pools", "set", "slow", "--max", "1", ...slow])).status).toBe(0);
    const run = await submit(`stages:
  work:
    tasks:
      hold: { run: sleep 600, inputs: [], idempotent: false, priority: 9, concurrency: db }
      turn: { run: "true", inputs: [], cache: false, concurrency: db }
      nowhere: { run: "true", inputs: [], agents: { os: plan9 } }
      grown: { run: "true", inputs: [], agents: { pool: slow } }
  ask: { manual: { title: Is it good?, approvers: [qa] } }
  later: { needs: [work, ask], tasks: { last: { run: "true", inputs: [] } } }
`);
    held = run;
    const expected = {
      "work/turn": "concurrency",
      "work/nowhere": "no-agent-matches",
      "work/grown": "pool-scaling",
      "ask/approval": "gate",
      "later/last": "needs",
    };
    await areTold(run, expected);
    await comesTo(run, "work/hold", undefined);
    const all = [...(await reasons(run)).values()];
    expect(Object.fromEntries(all.map(({ task, code }) => [task, code]))).toEqual(expected);
    const details = Object.fromEntries(all.map(({ task, detail }) => [task, detail]));
    expect(details["work/turn"]).toBe(`the group "db" has room for 1: held by ${run} work/hold; 1 of 1 in line`);
    expect(details["work/nowhere"]).toContain("os=plan9");
    expect(details["ask/approval"]).toContain("qa");
    expect((await farm.cli(["why", run])).stdout).toMatch(/work\/turn +concurrency .*held by/);
  });

  it("says agents-busy when all that match have no slot left", async () => {
    const run = await submit('stages: { s: { tasks: { t: { run: "true", inputs: [], cache: false } } } }');
    await reasonOf(run, "s/t", "agents-busy");
    await runs.cancelRun({ run });
  });

  it("says paused of a run that was paused, by whom", async () => {
    const run = await submit("stages: { s: { tasks: { t: { run: echo, inputs: [], cache: false } } } }");
    await comesTo(run, "s/t", WaitCause.AGENTS_BUSY);
    const pausedMs = Date.now();
    await runs.pauseRun({ run, reason: "wait for the freeze" });
    const { detail } = await reasonOf(run, "s/t", "paused", pausedMs);
    expect(detail).toContain("wait for the freeze");
    await runs.cancelRun({ run });
  });

  it("says quota of what its project may not run yet, until it may", async () => {
    expect((await farm.cli(["project", "add", "small", "--quota-running-tasks", "1"])).status).toBe(0);
    const task = "{ run: echo, inputs: [], agents: { os: plan9 } }";
    const run = await submit(`stages: { s: { tasks: { a: ${task}, b: ${task.replace("echo", "echo b")} } } }`, {
      project: "small",
    });
    const { detail } = await reasonOf(run, "s/b", "quota");
    expect(detail).toBe(`the project small may run 1 tasks at a time and runs 1, of ${run}; 1 wait`);
    expect((await farm.cli(["project", "set", "small", "--quota-running-tasks", "2"])).status).toBe(0);
    await comesTo(run, "s/b", WaitCause.NO_AGENT_MATCHES);
    await runs.cancelRun({ run });
  });

  it("says secret of what uses a secret without a value, and which", async () => {
    const run = await submit(
      "stages: { s: { tasks: { t: { run: echo, inputs: [], secrets: { KEY: deploy-key } } } } }",
    );
    const { detail } = await reasonOf(run, "s/t", "secret");
    expect(detail).toContain("deploy-key");
    await runs.cancelRun({ run });
  });

  it("says agent-draining when all that match drain", async () => {
    const run = await submit(
      "stages: { s: { tasks: { t: { run: echo, inputs: [], cache: false, agents: { os: linux } } } } }",
    );
    await comesTo(run, "s/t", WaitCause.AGENTS_BUSY);
    const drainedMs = Date.now();
    await agents.setAgentDraining({ id: "agent-1", draining: true });
    await reasonOf(run, "s/t", "agent-draining", drainedMs);
    await agents.setAgentDraining({ id: "agent-1", draining: false });
    await comesTo(run, "s/t", WaitCause.AGENTS_BUSY);
    await runs.cancelRun({ run });
  });

  it("says agent-lost of what must not be begun twice, when its agent is silent", async () => {
    const pid = pidOf(farm, "agent-1");
    const leaseEnd = async () => {
      const { agents: all } = await agents.listAgents({});
      const heard = all.find(({ info }) => info?.id === "agent-1")?.lastHeartbeatTime;
      return heard === undefined ? Number.NaN : timestampMs(heard) + limits.leaseMs;
    };
    process.kill(pid, "SIGSTOP");
    try {
      const { detail } = await reasonOf(held, "work/hold", "agent-lost", leaseEnd);
      expect(detail).toContain("agent-1");
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await runs.cancelRun({ run: held });
  });

  it("has said every cause for which a task may wait for long", () => {
    expect([...told].sort()).toEqual([...causes.keys()].sort());
  });
});
