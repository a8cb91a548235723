import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { BadRequestSchema } from "../../../../proto/gen/google/rpc/error_details_pb.ts";
import { busAgent } from "../../../support/bus-agent.ts";
import { type Clients, startTestCoordinator } from "../../../support/coordinator.ts";
import { submitText, work } from "../../../support/runs.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const failureOf = (call: Promise<unknown>): Promise<ConnectError> =>
  call.then(
    () => expect.unreachable("it went well"),
    (error: unknown) => ConnectError.from(error),
  );

const waiting = "name: p\nstages: { look: { manual: { title: Look at it } } }\n";

test("a secret belongs to a project that is there, and a project goes only without secrets", async () => {
  const { projects, secrets } = (await startTestCoordinator(tempDir())).as("admin");
  const [project, name] = ["shop", "token"];
  const value = Buffer.from("never-in-the-clear");
  const early = await failureOf(secrets.setSecret({ project, name, value }));
  expect(early).toMatchObject({ code: Code.NotFound, rawMessage: expect.stringContaining('no project "shop"') });
  await projects.setProject({ project: { name: project } });
  await secrets.setSecret({ project, name, value });
  const kept = await failureOf(projects.removeProject({ name: project }));
  expect(kept).toMatchObject({
    ...{
      code: Code.FailedPrecondition,
      rawMessage: expect.stringContaining("millrace secret remove NAME --project shop"),
    },
  });
  await secrets.removeSecret({ project, name });
  await projects.removeProject({ name: project });
});

test("projects are made, changed by who saw them last, and removed when none of their runs goes on", async () => {
  const data = tempDir();
  const first = await startTestCoordinator(data);
  const { projects, runs } = first.as("admin");
  expect((await projects.listProjects({})).projects.map(({ project }) => project?.name)).toEqual(["default"]);

  const shop = { name: "shop", repository: "https://git.example.org/shop.git", quotas: { runningTasks: 4 } };
  const made = (await projects.setProject({ project: shop })).project;
  expect(made).toMatchObject({ project: shop, updatedBy: "token:admin" });
  expect((await failureOf(projects.setProject({ project: shop }))).code).toBe(Code.AlreadyExists);
  const changed = { ...shop, title: "The shop" };
  const etag = made?.etag ?? "";
  const two = await Promise.allSettled([
    projects.setProject({ project: changed, etag }),
    projects.setProject({ project: { ...shop, title: "Another" }, etag }),
  ]);
  expect(two.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  expect((await failureOf(projects.setProject({ project: changed, etag }))).code).toBe(Code.Aborted);
  expect((await failureOf(projects.removeProject({ name: "shop", etag }))).code).toBe(Code.Aborted);

  const wrong = await failureOf(projects.setProject({ project: { name: "X", repository: "ftp://x" } }));
  expect(wrong.findDetails(BadRequestSchema)[0]?.fieldViolations.map(({ field }) => field)).toEqual([
    "name",
    "repository",
  ]);

  const run = await submitText(first.as("admin"), waiting, { project: "shop" });
  expect((await runs.getRun({ run })).run?.project).toBe("shop");
  const early = await failureOf(projects.removeProject({ name: "shop" }));
  expect(early).toMatchObject({ code: Code.FailedPrecondition, rawMessage: expect.stringContaining("has 1 runs") });
  await runs.cancelRun({ run });

  await first.stop();
  const second = await startTestCoordinator(data);
  const again = second.as("admin");
  expect((await again.projects.getProject({ name: "shop" })).project?.project?.quotas?.runningTasks).toBe(4);
  await again.projects.removeProject({ name: "shop" });
  expect((await failureOf(again.projects.getProject({ name: "shop" }))).code).toBe(Code.NotFound);
  expect((await failureOf(again.projects.removeProject({ name: "default" }))).code).toBe(Code.FailedPrecondition);
  expect((await again.projects.setProject({ project: { name: "shop" } })).project?.project?.quotas).toBeUndefined();
  expect((await again.runs.getRun({ run })).run?.project).toBe("shop");
});

test("a run of a project that nobody has made is refused, with the name that was probably meant", async () => {
  const person = (await startTestCoordinator()).as("admin");
  await person.projects.setProject({ project: { name: "shop" } });
  expect(await failureOf(submitText(person, waiting, { project: "shpo" }))).toMatchObject({
    code: Code.NotFound,
    rawMessage: expect.stringMatching(/no project "shpo" \(did you mean "shop"\?\): `millrace project add`/),
  });
  expect((await person.runs.listRuns({})).runs).toEqual([]);
});

test("a project has its own quota of unfinished runs", async () => {
  const person = (await startTestCoordinator()).as("admin");
  const { project } = await person.projects.setProject({ project: { name: "small", quotas: { unfinishedRuns: 1 } } });
  const run = await submitText(person, waiting, { project: "small" });
  expect((await failureOf(submitText(person, waiting, { project: "small" }))).code).toBe(Code.ResourceExhausted);
  await submitText(person, waiting);
  await person.projects.setProject({ project: { name: "small" }, etag: project?.etag ?? "" });
  await submitText(person, waiting, { project: "small" });
  await person.runs.cancelRun({ run });
});

test("what a project keeps is for it to say", async () => {
  const coordinator = await startTestCoordinator();
  const person = coordinator.as("admin");
  await person.projects.setProject({ project: { name: "brief", retention: { runAge: durationFromMs(1) } } });
  const gone = await submitText(person, waiting, { project: "brief" });
  const kept = await submitText(person, waiting);
  for (const run of [gone, kept]) await person.runs.cancelRun({ run });
  await submitText(person, waiting); // the newest run of all stays in any case
  const removed = () => person.admin.collectGarbage({}).then(({ runNames }) => runNames);
  await expect.poll(removed, { interval: 20 }).toEqual([gone]);
  expect((await person.runs.getRun({ run: kept })).run?.name).toBe(kept);
});

test("results are shared within a cache zone, and not with another one", async () => {
  const coordinator = await startTestCoordinator();
  const person = coordinator.as("admin");
  const machine = await coordinator.asAgent("a");
  const agent = await busAgent(await coordinator.connectBus(), { id: "a" });
  await machine.agents.joinFarm({ agent: agent.info });
  agent.heartbeat();
  for (const [name, cacheZone] of [
    ["one", "z"],
    ["two", "z"],
    ["other", "y"],
  ] as const)
    await person.projects.setProject({ project: { name, cacheZone } });
  const text = "name: p\nstages: { s: { tasks: { t: { run: echo hi } } } }\n";
  let next = agent.nextAssign();
  const executed = async (project: string): Promise<boolean> => {
    const run = await submitText(person, text, { project });
    const ended = finished(person, run);
    const assigned = await Promise.race([next, ended]);
    if (assigned === undefined) return false;
    next = agent.nextAssign();
    await work(agent, machine, assigned, "hi\n");
    await ended;
    return true;
  };
  expect(await executed("one")).toBe(true);
  expect(await executed("two")).toBe(false);
  expect(await executed("other")).toBe(true);
  expect(await executed("default")).toBe(true);
});

async function finished({ runs }: Clients, run: string): Promise<undefined> {
  for await (const { event } of runs.watchRun({ run })) if (event?.kind.case === "runFinished") return undefined;
  return expect.unreachable(`${run} has not finished`);
}
