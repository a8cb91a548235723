import { join } from "node:path";
import { type Client, createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { WaitCause } from "../../proto/gen/millrace/v1/event_pb.ts";
import { RunService } from "../../proto/gen/millrace/v1/run_pb.ts";
import { grpcTransport } from "../../shared/rpc/grpc-transport.ts";
import { project, startFarm, type TestFarm } from "../support/farm.ts";
import { pidOf } from "../support/farm-processes.ts";

// Every cause for which a task may wait for long, brought about on one farm: one agent with one slot.

let farm: TestFarm;
let runs: Client<typeof RunService>;
let transport: ReturnType<typeof grpcTransport>;
beforeAll(async () => {
  farm = await startFarm({ agents: 1, slots: 1 });
  transport = grpcTransport({ address: farm.grpc, token: farm.token });
  runs = createClient(RunService, transport);
});
afterAll(async () => {
  transport.close();
  await farm.remove();
});

const causes: Readonly<Record<string, WaitCause>> = {
  "retry-delay": WaitCause.RETRY_DELAY,
  "agents-busy": WaitCause.AGENTS_BUSY,
  quota: WaitCause.QUOTA,
  secret: WaitCause.SECRET,
  "agent-draining": WaitCause.AGENT_DRAINING,
  "agent-lost": WaitCause.AGENT_LOST,
  paused: WaitCause.PAUSED,
};

interface Reason {
  readonly task: string;
  readonly code: string;
  readonly detail: string;
  readonly since: string;
}

async function json<T>(...args: string[]): Promise<T> {
  const { stdout, stderr } = await farm.cli([...args, "--json"]);
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as T;
}

async function reasons(run: string): Promise<ReadonlyMap<string, Reason>> {
  const { waiting } = await json<{ waiting: readonly Reason[] }>("why", run);
  return new Map(waiting.map((reason) => [reason.task, reason]));
}

/** Resolves when the task waits for this, or for nothing; the ways there are a matter of moments. */
async function comesTo(run: string, task: string, cause: WaitCause | undefined, timeout = 10_000): Promise<void> {
  const look = async () => {
    const { tasks = [] } = (await runs.getRun({ run })).run ?? {};
    expect(tasks.find(({ stage, name }) => `${stage}/${name}` === task)?.wait?.cause).toBe(cause);
  };
  await vi.waitFor(look, { timeout, interval: 20 });
}

/** The reason that `why` gives when the task has come to wait for it. */
async function reasonOf(run: string, task: string, code: string, timeout?: number): Promise<Reason> {
  await comesTo(run, task, causes[code], timeout);
  const reason = (await reasons(run)).get(task);
  expect(reason).toMatchObject({ code });
  return reason as Reason;
}

async function submit(text: string, ...args: readonly string[]): Promise<string> {
  const dir = project({ "millrace.yaml": `name: p\n${text}` });
  return (await json<{ run: string }>("run", dir, "--detach", ...args)).run;
}

/** How long after it was so, by the coordinator's clock, the coordinator had written it down. */
const lateMs = ({ since }: Reason, atMs: number): number => Date.parse(since) - atMs;

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
    const run = await submit(
      "stages: { s: { tasks: { again: { run: exit 3, inputs: [], retry: { times: 2, delay: 1h } } } } }",
    );
    const { detail } = await reasonOf(run, "s/again", "retry-delay");
    expect(detail).toBe("retry 1 of 2 begins 1h after the try before exited with 3");
    await farm.cli(["cancel", run]);
  });

  it("says of everything in a run what it waits for, within a second", async () => {
    const slow = ["--provider", "exec", "--command", "/bin/sh", join(project({ "slow.sh": slowPool }), "slow.sh")];
    expect((await farm.cli(["pools", "set", "slow", "--max", "1", ...slow])).status).toBe(0);
    held = await submit(`stages:
  work:
    tasks:
      hold: { run: sleep 600, inputs: [], idempotent: false, priority: 9, concurrency: db }
      turn: { run: "true", inputs: [], cache: false, concurrency: db }
      nowhere: { run: "true", inputs: [], agents: { os: plan9 } }
      grown: { run: "true", inputs: [], agents: { pool: slow } }
  ask: { manual: { title: Is it good?, approvers: [qa] } }
  later: { needs: [work, ask], tasks: { last: { run: "true", inputs: [] } } }
`);
    await comesTo(held, "work/turn", WaitCause.CONCURRENCY);
    await comesTo(held, "work/grown", WaitCause.POOL_SCALING);
    await comesTo(held, "work/hold", undefined);
    const busy = await submit('stages: { s: { tasks: { busy: { run: "true", inputs: [], cache: false } } } }');
    const all = [...(await reasons(held)).values(), await reasonOf(busy, "s/busy", "agents-busy")];
    expect(Object.fromEntries(all.map(({ task, code }) => [task, code]))).toEqual({
      "work/turn": "concurrency",
      "work/nowhere": "no-agent-matches",
      "work/grown": "pool-scaling",
      "ask/approval": "gate",
      "later/last": "needs",
      "s/busy": "agents-busy",
    });
    const details = Object.fromEntries(all.map(({ task, detail }) => [task, detail]));
    expect(details["work/turn"]).toBe(`the group "db" has room for 1: held by ${held} work/hold; 1 of 1 in line`);
    expect(details["work/nowhere"]).toContain("os=plan9");
    expect(details["ask/approval"]).toContain("qa");
    const { runs: listed } = await json<{ runs: readonly { run: string; createTime: string }[] }>("runs");
    for (const reason of all) {
      const of = reason.task === "s/busy" ? busy : held;
      const createMs = Date.parse(listed.find(({ run }) => run === of)?.createTime ?? "");
      expect(lateMs(reason, createMs), reason.task).toBeLessThan(1_000);
    }
    expect((await farm.cli(["why", held])).stdout).toMatch(/work\/turn +concurrency .*held by/);
    await farm.cli(["cancel", busy]);
  });

  it("says paused of a run that was paused, by whom", async () => {
    const run = await submit("stages: { s: { tasks: { t: { run: echo, inputs: [], cache: false } } } }");
    await comesTo(run, "s/t", WaitCause.AGENTS_BUSY);
    await farm.cli(["pause", run, "--reason", "wait for the freeze"]);
    const { detail } = await reasonOf(run, "s/t", "paused");
    expect(detail).toContain("wait for the freeze");
    await farm.cli(["cancel", run]);
  });

  it("says quota of what its project may not run yet, until it may", async () => {
    expect((await farm.cli(["project", "add", "small", "--quota-running-tasks", "1"])).status).toBe(0);
    const task = "{ run: echo, inputs: [], agents: { os: plan9 } }";
    const run = await submit(
      `stages: { s: { tasks: { a: ${task}, b: ${task.replace("echo", "echo b")} } } }`,
      "--project",
      "small",
    );
    await comesTo(run, "s/a", WaitCause.NO_AGENT_MATCHES);
    const { detail } = await reasonOf(run, "s/b", "quota");
    expect(detail).toBe(`the project small may run 1 tasks at a time and runs 1, of ${run}; 1 wait`);
    expect((await farm.cli(["project", "set", "small", "--quota-running-tasks", "2"])).status).toBe(0);
    await comesTo(run, "s/b", WaitCause.NO_AGENT_MATCHES);
    await farm.cli(["cancel", run]);
  });

  it("says secret of what uses a secret without a value, and which", async () => {
    const run = await submit(
      "stages: { s: { tasks: { t: { run: echo, inputs: [], secrets: { KEY: deploy-key } } } } }",
    );
    const { detail } = await reasonOf(run, "s/t", "secret");
    expect(detail).toContain("deploy-key");
    await farm.cli(["cancel", run]);
  });

  it("says agent-draining when all that match drain", async () => {
    const run = await submit(
      "stages: { s: { tasks: { t: { run: echo, inputs: [], cache: false, agents: { os: linux } } } } }",
    );
    await comesTo(run, "s/t", WaitCause.AGENTS_BUSY);
    expect((await farm.cli(["agents", "drain", "agent-1"])).status).toBe(0);
    const doneMs = Date.now();
    expect(lateMs(await reasonOf(run, "s/t", "agent-draining"), doneMs)).toBeLessThan(1_000);
    await farm.cli(["agents", "resume", "agent-1"]);
    await comesTo(run, "s/t", WaitCause.AGENTS_BUSY);
    await farm.cli(["cancel", run]);
  });

  it("says agent-lost of what must not be begun twice, when its agent is silent", async () => {
    const pid = pidOf(farm, "agent-1");
    process.kill(pid, "SIGSTOP");
    try {
      const { detail } = await reasonOf(held, "work/hold", "agent-lost", 30_000);
      expect(detail).toContain("agent-1");
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await farm.cli(["cancel", held]);
  });
});
