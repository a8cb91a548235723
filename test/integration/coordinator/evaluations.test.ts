import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { expect, onTestFinished, test } from "vitest";
import { farmEvaluations } from "../../../coordinator/delivery/evaluation/farm-evaluations.ts";
import type { TypeScriptPipeline } from "../../../coordinator/delivery/evaluation/pipeline-evaluations.ts";
import type { ActionCacheEntry } from "../../../coordinator/farm/action-cache/action-cache.ts";
import { ActionResultSchema } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ReportOutcome } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { ImportState } from "../../../proto/gen/millrace/v1/run_pb.ts";
import { memoryCas } from "../../../shared/cas/memory-cas.ts";
import { digestKey, digestToMessage } from "../../../shared/digest.ts";
import { from } from "../../../shared/errors.ts";
import { leaseTimes } from "../../../shared/lease-times.ts";
import { limits } from "../../../shared/limits.ts";
import { pipelineOutput, refusedExit } from "../../../shared/pipeline/evaluation/evaluator.ts";
import { ownNodeTool } from "../../../shared/pipeline/own-node-tool.ts";
import { textBlob } from "../../support/blobs.ts";
import { type SchedulerFarm, startSchedulerFarm } from "../../support/scheduler-farm.ts";
import { tempDir } from "../../support/temp-dir.ts";

const tool = { name: ownNodeTool, version: "24.1.0", fingerprint: "24.1.0@f" };
const text = '{"name":"p"}\n';

async function evaluationsOf({ scheduler }: SchedulerFarm) {
  const cas = memoryCas();
  const cache = new Map<string, ActionCacheEntry>();
  const removed: string[] = [];
  let count = 0;
  const evaluations = farmEvaluations({
    ...{ scheduler, cas, newId: () => String(++count), onError: (error) => expect.unreachable(String(error)) },
    actionCache: { get: async (digest) => cache.get(digestKey(digest)) },
    logs: { remove: async (run) => void removed.push(run) },
  });
  await evaluations.start?.();
  onTestFinished(() => evaluations.stop?.());
  const program = textBlob("export default { name: 'p' };");
  await cas.writeMany([program, textBlob(text)]);
  const told: (readonly [ImportState, string])[] = [];
  const stop = new AbortController();
  const begin = (more: Partial<TypeScriptPipeline> = {}, { signal } = stop) =>
    evaluations.evaluate(
      {
        file: "millrace.ts",
        source: [{ path: "millrace.ts", node: { kind: "file", digest: program.digest, executable: false } }],
        scope: { project: "default", cacheZone: "" },
        offers: [{ labels: {}, tools: [tool] }],
        ...more,
      },
      signal,
      (state, detail) => void told.push([state, detail]),
    );
  /** What an agent reports when it printed this, and when it left a pipeline. */
  const said = async (log: string) => {
    const blob = textBlob(log);
    await cas.writeMany([blob]);
    return { stdoutDigest: digestToMessage(blob.digest) };
  };
  const left = { outputFiles: [{ path: pipelineOutput, digest: digestToMessage(textBlob(text).digest) }] };
  return { cas, cache, removed, told, stop, begin, said, left };
}

test("a program goes to an agent with the Node that its key names, is no process here, and its log goes when it has ended", async () => {
  const farm = await startSchedulerFarm();
  const { begin, told, left, removed } = await evaluationsOf(farm);
  await farm.agent({ id: "plain" });
  const pipeline = begin();
  await farm.next("evaluation-1", "waiting");
  const agent = await farm.agent({ id: "able", tools: [tool] });
  const assign = await agent.nextAssign();
  await farm.next("evaluation-1", "started");
  expect(await agent.report({ ...assign, result: left })).toBe(ReportOutcome.ACCEPTED);
  expect(await pipeline).toEqual({ text, digest: textBlob(text).digest });
  expect(told.map(([state]) => state)).toEqual([
    ImportState.EVALUATING,
    ImportState.EVALUATING,
    ImportState.EVALUATING,
  ]);
  expect(told[1]?.[1]).toContain(ownNodeTool);
  expect(told[2]?.[1]).toBe("able");
  await farm.written();
  expect([...farm.scheduler.stats().concluded]).toEqual([]);
  await expect.poll(() => removed).toEqual(["evaluation-1"]);
});

test("what was evaluated before with the same inputs is not evaluated again, and nobody hears of it", async () => {
  const farm = await startSchedulerFarm();
  const { begin, cache, told, left } = await evaluationsOf(farm);
  const agent = await farm.agent({ id: "able", tools: [tool] });
  const first = begin();
  const assign = await agent.nextAssign();
  await agent.report({ ...assign, result: left });
  await first;
  told.length = 0;
  const result = create(ActionResultSchema, left);
  cache.set(`${assign.actionDigest?.hash}/${assign.actionDigest?.sizeBytes}`, {
    result,
    closure: [],
    writer: "agent:able",
  });
  expect((await begin()).text).toBe(text);
  expect(told).toEqual([]);
  void begin({ scope: { project: "other", cacheZone: "zone" } }).catch(() => undefined); // another key
  await agent.nextAssign();
});

test("identical evaluations are one execution, and who goes away leaves it to the other", async () => {
  const farm = await startSchedulerFarm();
  const { begin, left, stop, removed } = await evaluationsOf(farm);
  const agent = await farm.agent({ id: "able", tools: [tool] });
  const first = begin();
  const assign = await agent.nextAssign();
  const second = begin({}, new AbortController());
  expect((await farm.next("evaluation-2", "started")).execution).toBe("evaluation-1");
  stop.abort(new Error("gone"));
  await expect(first).rejects.toThrow("gone");
  await expect(begin()).rejects.toThrow("gone");
  expect(await agent.report({ ...assign, result: left })).toBe(ReportOutcome.ACCEPTED);
  expect((await second).text).toBe(text);
  // The log is the first one's, who may have removed it while it was written.
  await expect.poll(() => removed.toSorted()).toEqual(["evaluation-1", "evaluation-1", "evaluation-2"]);
});

test.for([
  [
    "throws",
    { kind: EndingKind.EXITED, exitCode: 1 },
    "Error: no\n    at f (lib/a.ts:3:7)\n",
    "lib/a.ts:3:7: Error: no\n    at f (lib/a.ts:3:7)",
  ],
  [
    "is no program",
    { kind: EndingKind.EXITED, exitCode: 1 },
    "lib/a [b].ts:3:7: SyntaxError: TypeScript enum is not supported in strip-only mode\n",
    "lib/a [b].ts:3:7: SyntaxError: TypeScript enum is not supported in strip-only mode\n" +
      "  hint: types are left out and nothing is compiled: write what JavaScript has, an object instead of an enum",
  ],
  [
    "gives what no file can hold",
    { kind: EndingKind.EXITED, exitCode: refusedExit },
    "printed\nmillrace.ts: a.b: is a function: x\nmillrace.ts: c: is null\n",
    "millrace.ts: a.b: is a function: x\nmillrace.ts: c: is null",
  ],
  [
    "speaks to the terminal",
    { kind: EndingKind.EXITED, exitCode: 1 },
    "\u001b[2J\u009bred\ttab",
    "millrace.ts:1:1: \ufffd[2J\ufffdred\ttab",
  ],
  ["says nothing", { kind: EndingKind.EXITED, exitCode: 7 }, "", "millrace.ts:1:1: it ended with status 7"],
  [
    "leaves nothing",
    { kind: EndingKind.OUTPUT_MISSING, detail: 'output "x" is missing' },
    "it ended without",
    "millrace.ts:1:1: it ended without",
  ],
  [
    "never ends",
    { kind: EndingKind.TIMED_OUT, detail: "it ran longer" },
    "loop\n",
    "millrace.ts:1:1: it ran longer; it had printed:\nloop",
  ],
  ["is killed", { kind: EndingKind.SIGNALLED, signal: "SIGKILL" }, "", "millrace.ts:1:1: it was ended by SIGKILL"],
  [
    "takes all memory",
    { kind: EndingKind.SIGNALLED, signal: "SIGABRT" },
    "FATAL ERROR: JavaScript heap out of memory",
    `millrace.ts:1:1: it needs more than ${limits.evaluationMemoryMib} MiB of memory; at most that is given to an evaluation`,
  ],
  [
    "reads what is not there",
    { kind: EndingKind.EXITED, exitCode: 1 },
    "Error: ENOENT",
    "millrace.ts:1:1: Error: ENOENT\n  hint: nothing is there but what it imports by relative paths; name other files in a line `// @inputs <globs>`; packages cannot be used",
  ],
  [
    "asks the network",
    { kind: EndingKind.EXITED, exitCode: 1 },
    "TypeError: fetch failed\n  because of: Error: getaddrinfo EAI_AGAIN example.org",
    "millrace.ts:1:1: TypeError: fetch failed\n  because of: Error: getaddrinfo EAI_AGAIN example.org\n  hint: an evaluation has no network; let a task fetch it, or keep what it needs in a file of the source",
  ],
] as const)(
  "a program that %s is its author's mistake, told with what was printed",
  async ([, ending, log, message]) => {
    const farm = await startSchedulerFarm();
    const { begin, said } = await evaluationsOf(farm);
    const agent = await farm.agent({ id: "able", tools: [tool] });
    const refused = expect(begin()).rejects.toMatchObject({ code: "invalid_argument", message });
    await agent.report({ ...(await agent.nextAssign()), result: await said(log) }, ending);
    await refused;
  },
);

test("one whose agents all come to grief is over after several tries, and no coordinator that is away", async () => {
  const farm = await startSchedulerFarm();
  const { begin } = await evaluationsOf(farm);
  const agent = await farm.agent({ id: "able", tools: [tool] });
  const failed = expect(begin()).rejects.toMatchObject({
    code: "failed_precondition",
    message: expect.stringMatching(/^evaluating millrace\.ts: .*no room$/),
  });
  for (let attempt = 1; attempt <= limits.infrastructureAttempts; attempt += 1) {
    const assign = await agent.nextAssign();
    await agent.report(assign, { kind: EndingKind.INFRASTRUCTURE, detail: "no room" });
    farm.clock.advance(leaseTimes().leaseMs / 2); // it rests after a failure
    agent.heartbeat();
  }
  await failed;
});

test("of much that was printed the end is told, and what is too large or no file is no pipeline", async () => {
  const farm = await startSchedulerFarm();
  const { begin, said } = await evaluationsOf(farm);
  const agent = await farm.agent({ id: "able", tools: [tool] });
  const failing = begin().then(
    () => "",
    (error: unknown) => from(error).message,
  );
  const log = await said(`${"printed\n".repeat(10_000)}Error: the end`);
  await agent.report({ ...(await agent.nextAssign()), result: log }, { kind: EndingKind.EXITED, exitCode: 1 });
  const message = await failing;
  expect(message).toMatch(/^millrace\.ts:1:1: …printed\n[^]*Error: the end$/);
  expect(message.length).toBeLessThan(limits.evaluationLogBytes + 100);
  const large = { hash: "a".repeat(64), sizeBytes: BigInt(limits.pipelineFileBytes + 1) };
  for (const [result, expected] of [
    [{ outputFiles: [{ path: pipelineOutput, digest: large }] }, "larger than 1048576 bytes"],
    [{ outputDirectories: [{ path: pipelineOutput }] }, "something that is no file"],
  ] satisfies [MessageInitShape<typeof ActionResultSchema>, string][]) {
    const scope = { project: "default", cacheZone: expected };
    const refused = expect(begin({ scope })).rejects.toThrow(expected);
    await agent.report({ ...(await agent.nextAssign()), result: create(ActionResultSchema, result) });
    await refused;
  }
});

test("without a Node that can do it nothing is asked of the farm", async () => {
  const farm = await startSchedulerFarm();
  const { begin } = await evaluationsOf(farm);
  const old = { name: "node", version: "20.20.2", fingerprint: "old" };
  await expect(begin({ offers: [] })).rejects.toThrow("no connected agent offers node 24 or later");
  await expect(begin({ offers: [{ labels: {}, tools: [old] }] })).rejects.toThrow("they have node 20.20.2");
  const agent = await farm.agent({ id: "able", tools: [{ ...old, version: "26.0.1", fingerprint: "new" }] });
  const several = [
    old,
    { ...old, version: "24.9.0", fingerprint: "mid" },
    { ...old, version: "26.0.1", fingerprint: "new" },
  ];
  void begin({ offers: [{ labels: {}, tools: several }] }).catch(() => undefined);
  await agent.nextAssign(); // the newest, which no other agent has
});

test("what a former start of the coordinator left is forgotten when it has ended", async () => {
  const dir = tempDir();
  const farm = await startSchedulerFarm({ dir });
  const { begin, left } = await evaluationsOf(farm);
  const agent = await farm.agent({ id: "able", tools: [tool] });
  begin().catch(() => undefined); // its caller goes with the coordinator
  const assign = await agent.nextAssign();
  await farm.next("evaluation-1", "started");
  await farm.written();
  await farm.stop();
  const next = await startSchedulerFarm({ dir, broker: farm.broker });
  const { removed } = await evaluationsOf(next);
  agent.heartbeat();
  expect(await agent.report({ ...assign, result: left })).toBe(ReportOutcome.ACCEPTED);
  await expect.poll(() => removed).toEqual(["evaluation-1"]);
  expect([...next.scheduler.stats().concluded]).toEqual([]);
});
