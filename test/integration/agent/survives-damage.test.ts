import { chmodSync, globSync, lstatSync, readFileSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { digestOf } from "../../../shared/digest.ts";
import { exitOf } from "../../support/exit-of.ts";
import { type AgentProcess, fakeFarm, startAgent } from "./farm.ts";

const text = "a file that two tasks read\n";
const digest = digestOf(Buffer.from(text));
const spec = { command: ["cat", "input"], inputs: { input: text } };
const storedFile = ({ data }: AgentProcess) => join(data, "store", digest.hash.slice(0, 2), digest.hash);

test("outputs are there for the next task on the same agent, without the farm", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  await farm.assign(agent.id, "maker", { command: ["sh", "-c", "echo made > out"], outputs: ["out"] });
  expect((await farm.report("maker")).ending?.exitCode).toBe(0);
  await farm.cas.quarantine(digestOf(Buffer.from("made\n"))); // the farm has it no more
  const user = { command: ["cat", "in"], inputs: { in: "made\n" }, withheld: ["in"] };
  await farm.assign(agent.id, "user", user);
  expect((await farm.report("user")).ending).toMatchObject({ kind: EndingKind.EXITED, exitCode: 0 });
  expect(farm.log("user").text).toBe("made\n");
});

test("a stored file whose bytes were flipped while the agent was away is fetched again", async () => {
  const farm = await fakeFarm();
  const first = await startAgent(farm);
  await farm.assign(first.id, "before", spec);
  await farm.report("before");
  await stop(first);
  const { mtime } = lstatSync(storedFile(first));
  chmodSync(storedFile(first), 0o644);
  writeFileSync(storedFile(first), text.toUpperCase());
  utimesSync(storedFile(first), mtime, mtime); // neither size nor time betrays it
  const second = await startAgent(farm, { id: first.id, data: first.data });
  await farm.assign(second.id, "after", spec);
  await farm.report("after");
  expect(farm.log("after").text).toBe(text);
  expect(readFileSync(storedFile(second), "utf8")).toBe(text);
});

test.each([
  ["truncated", (file: string) => truncateSync(file, 4096 + 100)],
  ["no database", (file: string) => writeFileSync(file, "rubbish ".repeat(1_000))],
  ["rotten in its last page", (file: string) => writeFileSync(file, rotten(readFileSync(file)))],
])("an agent whose database is %s sets it aside, says so and works", async (_, damage) => {
  const farm = await fakeFarm();
  const first = await startAgent(farm);
  await farm.assign(first.id, "before", spec);
  await farm.report("before");
  await stop(first);
  damage(join(first.data, "agent.sqlite"));
  const damaged = readFileSync(join(first.data, "agent.sqlite"));
  const second = await startAgent(farm, { id: first.id, data: first.data });
  expect(second.id).toBe(first.id);
  expect(second.complaints()).toContain("the agent's database is begun anew");
  expect(readFileSync(join(first.data, "agent.sqlite.damaged")).equals(damaged)).toBe(true);
  await farm.assign(second.id, "after", spec);
  expect((await farm.report("after")).ending).toMatchObject({ kind: EndingKind.EXITED, exitCode: 0 });
});

test("an agent whose store may hold nothing evicts everything, and nothing under a running task", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm, { slots: 16, storeBytes: 0 });
  const names = Array.from({ length: 24 }, (_, index) => `task-${index}`);
  const run = async (name: string, inline: boolean) => {
    const inputs = { shared: "the same for all", "deep/own": name, "tool!": "#!/bin/sh\ncat shared deep/own\n" };
    const task = { command: ["sh", "-c", "./tool; echo out > out"], inputs, outputs: ["out"], inline };
    expect(await farm.assign(agent.id, name, task)).toMatchObject({ accepted: true });
    return (await farm.report(name)).ending;
  };
  for (let start = 0; start < names.length; start += 8) {
    const endings = await Promise.all(names.slice(start, start + 8).map((name, index) => run(name, index % 2 === 0)));
    for (const ending of endings) expect(ending).toMatchObject({ kind: EndingKind.EXITED, exitCode: 0 });
  }
  for (const name of names) expect(farm.log(name).text).toBe(`the same for all${name}`);
  await stop(agent);
  const left = globSync("store/??/*", { cwd: agent.data });
  expect(left.length).toBeLessThan(24);
  expect(agent.complaints()).not.toContain('"level":40');
});

function rotten(bytes: Buffer): Buffer {
  return bytes.fill(0xa5, bytes.byteLength - 4096);
}

async function stop({ child }: AgentProcess): Promise<void> {
  child.kill("SIGTERM");
  await exitOf(child);
}
