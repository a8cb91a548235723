import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { agentSchema, busAgentRegistry } from "../../../../coordinator/farm/agents/bus-agent-registry.ts";
import { AgentState } from "../../../../proto/gen/millrace/v1/agent_pb.ts";
import { inProcessBus } from "../../../../shared/bus/in-process-bus.ts";
import { limits } from "../../../../shared/limits.ts";
import { openSqlite } from "../../../../shared/sqlite/open.ts";
import { busAgent } from "../../../support/bus-agent.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { tempDir } from "../../../support/temp-dir.ts";

/** A registry on a real database, and how to start it again. */
async function setup() {
  const clock = fakeClock();
  const broker = inProcessBus();
  const sqlite = await openSqlite({ path: join(tempDir(), "farm.db"), schema: [agentSchema] });
  const onError = (error: unknown): void => expect.unreachable(String(error));
  const start = async (term: number) => {
    const registry = busAgentRegistry({ bus: broker.connect(), sqlite, clock, term, onError });
    await registry.start?.();
    return registry;
  };
  onTestFinished(() => sqlite.close());
  return { clock, broker, start };
}

test("an agent that is lost for long is forgotten, also over a restart; one that came back in between is not", async () => {
  const { clock, broker, start } = await setup();
  const first = await start(1);
  const agents = await Promise.all(["gone", "back"].map((id) => busAgent(broker.connect(), { id })));
  const ids = (registry: typeof first) => registry.list().map(({ info }) => info.id);
  for (const { info } of agents) await first.join(info);
  for (const agent of agents) agent.heartbeat();
  await vi.waitFor(() => expect(first.list().every(({ heard }) => heard)).toBe(true));
  clock.advance(limits.leaseMs + 2 * limits.heartbeatIntervalMs);
  expect(first.list().map(({ state }) => state)).toEqual([AgentState.LOST, AgentState.LOST]);
  clock.jump(limits.lostAgentKeptMs / 2);
  agents[1]?.heartbeat();
  await vi.waitFor(() => expect(first.list()[1]?.state).toBe(AgentState.ONLINE));
  expect(ids(first)).toEqual(["gone", "back"]);
  await first.stop?.();

  const second = await start(2);
  onTestFinished(() => second.stop?.());
  clock.advance(limits.leaseMs + 2 * limits.heartbeatIntervalMs); // lost again, from now on
  clock.jump(limits.lostAgentKeptMs / 2);
  await vi.waitFor(() => expect(ids(second)).toEqual(["back"]));
  clock.jump(limits.lostAgentKeptMs);
  await vi.waitFor(() => expect(ids(second)).toEqual([]));
});

test("an agent is lost at the moment when its lease is over, whenever its silence began", async () => {
  const { clock, broker, start } = await setup();
  const registry = await start(1);
  onTestFinished(() => registry.stop?.());
  const agents = await Promise.all(["early", "late"].map((id) => busAgent(broker.connect(), { id })));
  for (const agent of agents) {
    await registry.join(agent.info);
    agent.heartbeat();
    await vi.waitFor(() => expect(registry.list().every(({ heard }) => heard)).toBe(true));
    clock.advance(limits.heartbeatIntervalMs / 4);
  }
  const states = () => registry.list().map(({ state }) => state);
  clock.advance(limits.leaseMs - limits.heartbeatIntervalMs / 2 - 1);
  expect(states()).toEqual([AgentState.ONLINE, AgentState.ONLINE]);
  clock.advance(1);
  expect(states()).toEqual([AgentState.LOST, AgentState.ONLINE]);
  clock.advance(limits.heartbeatIntervalMs / 4);
  expect(states()).toEqual([AgentState.LOST, AgentState.LOST]);
});
