import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { exitOf } from "../../support/exit-of.ts";
import { type AgentProcess, fakeFarm, startAgent } from "./farm.ts";

const counting = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done";

async function kill({ child }: AgentProcess): Promise<void> {
  child.kill("SIGKILL");
  await exitOf(child);
}

const linesUpTo = (text: string) => text.split("\n").map((_, index) => `${index + 1}`);

test("what a killed agent had not sent is sent by its next start, which ends the log in a gap", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  await farm.assign(agent.id, "exe_1", { command: ["sh", "-c", counting] });
  await farm.until(() => farm.logBytes("exe_1") > 20);
  // From here on nothing reaches the coordinator.
  await farm.stopGrpc();
  const stored = farm.logBytes("exe_1");
  const spool = join(agent.data, "spool/exe_1.1");
  let printed = "";
  while (printed.length < stored + 100) printed = readFileSync(spool, "utf8");
  await kill(agent);

  await farm.startGrpc();
  const next = await startAgent(farm, { id: agent.id, data: agent.data });
  await farm.until(() => farm.log("exe_1").finished);
  const { text, gap } = farm.log("exe_1");
  expect(gap).toBe(true);
  expect(text.startsWith(printed)).toBe(true);
  expect(text.split("\n").slice(0, -1)).toEqual(linesUpTo(text).slice(0, -1));
  // And the agent goes on to say that it does not hold the attempt any more.
  await farm.until(() => farm.heartbeats.some(({ session }) => session === farm.joined.at(-1)?.session));
  next.child.kill("SIGTERM");
  await exitOf(next.child);
  expect(readdirSync(join(agent.data, "leftovers"))).toEqual([]);
});

test("an agent that is shut down while the coordinator is away keeps what it has not sent", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  await farm.assign(agent.id, "exe_1", { command: ["sh", "-c", counting] });
  await farm.until(() => farm.logBytes("exe_1") > 0);
  await farm.stopGrpc();
  const stored = farm.logBytes("exe_1");
  const spool = join(agent.data, "spool/exe_1.1");
  while (readFileSync(spool).byteLength < stored + 50);
  agent.child.kill("SIGTERM");
  await farm.until(() => farm.heartbeats.at(-1)?.draining === true);
  agent.child.kill("SIGTERM"); // does not wait for the task
  await exitOf(agent.child);
  const kept = readFileSync(spool, "utf8");

  await farm.startGrpc();
  await startAgent(farm, { id: agent.id, data: agent.data });
  await farm.until(() => farm.log("exe_1").finished);
  expect(farm.log("exe_1")).toEqual({ text: kept, finished: true, gap: true });
  expect(existsSync(spool)).toBe(false);
});
