import { create } from "@bufbuild/protobuf";
import { expect, onTestFinished, test } from "vitest";
import { type FarmImportsDeps, farmImports } from "../../../coordinator/delivery/source/farm-imports.ts";
import type { ImportRequest } from "../../../coordinator/delivery/source/source-imports.ts";
import type { ExecutionUpdate } from "../../../coordinator/farm/scheduler/scheduler.ts";
import { BranchCommitSchema, ImportPhase, ReportOutcome } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind, EndingSchema, GitSourceSchema } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { ImportState } from "../../../proto/gen/millrace/v1/run_pb.ts";
import { memoryCas } from "../../../shared/cas/memory-cas.ts";
import { putMessage } from "../../../shared/cas/read-blob.ts";
import { digestOf, digestToMessage } from "../../../shared/digest.ts";
import { leaseTimes } from "../../../shared/lease-times.ts";
import { limits } from "../../../shared/limits.ts";
import { importProperty } from "../../../shared/source/import-property.ts";
import { type SchedulerFarm, startSchedulerFarm } from "../../support/scheduler-farm.ts";
import { tempDir } from "../../support/temp-dir.ts";

const request: ImportRequest = {
  ...{ url: "https://example.org/shop.git", ref: "main", whole: false, project: "default", credentialsSecret: "" },
  ...{ knownHosts: "", trustFirstHostKey: false },
  previous: [create(BranchCommitSchema, { branch: "main", commit: "a".repeat(40) })],
};
const withGit = { features: [importProperty] };

/** @param first its first import is `import.<first>`: of two on one farm no two have the same name */
async function importsOf({ scheduler, agents }: SchedulerFarm, first = 1) {
  const cas = memoryCas();
  let next = first;
  const onError = (error: unknown) => expect.unreachable(String(error));
  const imports = farmImports({ scheduler, agents, cas, newId: () => String(next++), onError });
  await imports.start?.();
  onTestFinished(() => imports.stop?.());
  const told: (readonly [ImportState, string])[] = [];
  const stop = new AbortController();
  const begin = () => imports.import(request, stop.signal, (state, detail) => void told.push([state, detail]));
  return { cas, told, stop, begin };
}

test("an import goes to an agent that has git, and gives what it reports; how far it is comes by heartbeats", async () => {
  const farm = await startSchedulerFarm();
  const { cas, told, begin } = await importsOf(farm);
  await farm.agent({ id: "plain" });
  const source = begin();
  await farm.next("import.1", "waiting");
  const agent = await farm.agent({ id: "able", ...withGit });
  const assign = await agent.nextAssign();
  expect(assign.sourceImport).toMatchObject({ url: request.url, ref: "main", previous: request.previous });
  await farm.next("import.1", "started");
  const beat = (importPhase: ImportPhase) =>
    new Promise<void>((resolve) => {
      const end = farm.agents.subscribe(({ kind }) => kind === "heartbeat" && (end(), resolve()));
      agent.heartbeat([{ ...assign, importPhase }]);
    });
  await beat(ImportPhase.FETCHING);
  await beat(ImportPhase.UPLOADING);
  const root = digestOf(Buffer.from("root"));
  const git = create(GitSourceSchema, { url: request.url, commit: "b".repeat(40) });
  const result = {
    outputDirectories: [{ path: "source", rootDirectoryDigest: digestToMessage(root) }],
    outputFiles: [{ path: "git", digest: digestToMessage(await putMessage(cas, GitSourceSchema, git)) }],
  };
  expect(await agent.report({ ...assign, result })).toBe(ReportOutcome.ACCEPTED);
  expect(await source).toMatchObject({ root, git: { commit: git.commit } });
  expect(told).toEqual([
    [ImportState.WAITING, "no connected agent offers git"],
    [ImportState.FETCHING, "able"],
    [ImportState.UPLOADING, "able"],
  ]);
  await farm.written();
  expect([...farm.scheduler.stats().concluded]).toEqual([]);
});

test("one that nobody waits for any more leaves nothing behind, whenever that is", async () => {
  const farm = await startSchedulerFarm();
  const cas = memoryCas();
  const unhandled: unknown[] = [];
  const onUnhandled = (error: unknown) => void unhandled.push(error);
  process.on("unhandledRejection", onUnhandled);
  onTestFinished(() => void process.off("unhandledRejection", onUnhandled));
  const submitted = Promise.withResolvers<void>();
  const forgotten: string[] = [];
  const cancelled: string[] = [];
  let tell = (_update: ExecutionUpdate): void => {};
  const scheduler: FarmImportsDeps["scheduler"] = {
    submit: () => submitted.promise,
    cancel: (id) => void cancelled.push(id),
    forget: async (id) => void forgotten.push(id),
    stats: () => ({ ...farm.scheduler.stats(), concluded: [] }),
    subscribe(listener) {
      tell = listener;
      return () => {};
    },
  };
  const onError = (error: unknown) => expect.unreachable(String(error));
  const imports = farmImports({ scheduler, agents: farm.agents, cas, newId: () => "1", onError });
  await imports.start?.();
  const stop = new AbortController();
  const importing = imports.import(request, stop.signal, () => {});
  stop.abort(new Error("gone"));
  await new Promise((resolve) => setImmediate(resolve));
  submitted.resolve();
  await expect(importing).rejects.toThrow("gone");
  expect([unhandled, cancelled]).toEqual([[], ["import.1"]]);
  const ending = create(EndingSchema, { kind: EndingKind.CANCELLED });
  tell({ kind: "finished", id: "import.1", outcome: { ending, attempt: 0, agent: "" } });
  expect(forgotten).toEqual(["import.1"]);
});

test("what no agent can import is the asker's mistake, what none can reach is not", async () => {
  const farm = await startSchedulerFarm();
  const { begin } = await importsOf(farm);
  const agent = await farm.agent({ id: "able", ...withGit });
  const refused = expect(begin()).rejects.toMatchObject({
    ...{ code: "invalid_argument", message: expect.stringContaining('no branch "main"') },
  });
  await agent.report(await agent.nextAssign(), { kind: EndingKind.REFUSED, detail: 'there is no branch "main"' });
  await refused;
  const unreachable = expect(begin()).rejects.toMatchObject({ code: "failed_precondition" });
  for (let attempt = 1; attempt <= limits.infrastructureAttempts; attempt += 1) {
    const assign = await agent.nextAssign();
    await agent.report(assign, { kind: EndingKind.INFRASTRUCTURE, detail: "could not resolve host" });
    farm.clock.advance(leaseTimes().leaseMs / 2); // it rests after a failure
    agent.heartbeat();
  }
  await unreachable;
});

test("who goes away ends the import, whether an agent has it or not", async () => {
  const farm = await startSchedulerFarm();
  const waiting = await importsOf(farm);
  const first = waiting.begin();
  await farm.next("import.1", "waiting");
  waiting.stop.abort(new Error("gone"));
  await expect(first).rejects.toThrow("gone");
  await expect(waiting.begin()).rejects.toThrow("gone");
  const agent = await farm.agent({ id: "able", ...withGit });
  const held = await importsOf(farm, 11);
  const second = held.begin();
  const assign = await agent.nextAssign();
  await farm.next(assign.executionId, "started");
  held.stop.abort(new Error("gone, too"));
  await expect(second).rejects.toThrow("gone, too");
  expect((await agent.nextCancel()).executionId).toBe(assign.executionId);
});

test("an agent that is lost loses it to another one", async () => {
  const farm = await startSchedulerFarm();
  const { begin, stop } = await importsOf(farm);
  const first = await farm.agent({ id: "able-1", ...withGit });
  const source = begin();
  const { epoch } = await first.nextAssign();
  const second = await farm.agent({ id: "able-2", ...withGit });
  first.silence();
  const heard = () => second.heartbeat([]);
  const { leaseMs, heartbeatMs } = leaseTimes();
  for (let ms = 0; ms <= leaseMs + heartbeatMs; ms += heartbeatMs) {
    heard();
    await new Promise((resolve) => setImmediate(resolve));
    farm.clock.advance(heartbeatMs);
  }
  const again = await second.nextAssign();
  expect(again.attempt).toBe(2);
  expect(again.epoch?.number).toBeGreaterThan(epoch?.number ?? 0n);
  stop.abort(new Error("enough"));
  await expect(source).rejects.toThrow("enough");
});

test("a coordinator that starts anew knows nothing of it, and its agent is told to end it", async () => {
  const dir = tempDir();
  const farm = await startSchedulerFarm({ dir });
  const { begin, stop } = await importsOf(farm);
  const agent = await farm.agent({ id: "able", ...withGit });
  const source = begin();
  const assign = await agent.nextAssign();
  await farm.next(assign.executionId, "started");
  await farm.written();
  await farm.stop();
  const next = await startSchedulerFarm({ dir, broker: farm.broker });
  expect([...next.scheduler.stats().heldBy.values()].flat()).toEqual([]);
  agent.heartbeat();
  expect((await agent.nextCancel()).executionId).toBe(assign.executionId);
  expect(await agent.report(assign)).toBe(ReportOutcome.FENCED);
  stop.abort(new Error("its caller went with the coordinator"));
  await expect(source).rejects.toThrow("went with");
});
