import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import type { AgentChange, AgentRecord } from "../../../../../coordinator/farm/agents/agent-registry.ts";
import type { Program } from "../../../../../coordinator/farm/agents/programs.ts";
import { rollingUpgrades, turns } from "../../../../../coordinator/farm/agents/upgrades.ts";
import { type AgentInfo, AgentInfoSchema, AgentState } from "../../../../../proto/gen/millrace/v1/agent_pb.ts";
import { limits } from "../../../../../shared/limits.ts";
import { fakeClock } from "../../../../support/fake-clock.ts";

const program: Program = { name: "m", version: "1.1.0", platform: "linux-x64", sha256: "new", sizeBytes: 1 };

function agent(id: string, given: MessageInitShape<typeof AgentInfoSchema> = {}): AgentInfo {
  const labels = { os: "linux", arch: "x64" };
  return create(AgentInfoSchema, {
    id,
    version: "1.0.0",
    features: ["upgrade:self"],
    labels,
    ...given,
  });
}

async function setup(count: number) {
  const infos = new Map(Array.from({ length: count }, (_, index) => [`a${index}`, agent(`a${index}`)]));
  const listeners = new Set<(change: AgentChange) => void>();
  const asked: string[] = [];
  const clock = fakeClock();
  const errors: unknown[] = [];
  let found: () => Promise<Program | undefined> = async () => program;
  const record = (info: AgentInfo): AgentRecord => ({
    info,
    state: AgentState.ONLINE,
    heard: true,
    lastHeartbeatMs: 0,
  });
  const subject = rollingUpgrades({
    agents: {
      list: () => [...infos.values()].map(record),
      subscribe(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    programs: { find: () => found() },
    bus: { publish: (name: string) => void asked.push(name) },
    version: "1.1.0",
    clock,
    onError: (error) => errors.push(error),
  });
  await subject.start?.();
  return {
    ...{ subject, asked, clock, errors },
    find(next: typeof found) {
      found = next;
    },
    beat(info: AgentInfo) {
      for (const listener of listeners) listener({ kind: "heartbeat", agent: record(info), held: [] });
    },
    leave(info: AgentInfo) {
      for (const listener of listeners) listener({ kind: "lost", agent: { ...record(info), state: AgentState.LOST } });
    },
  };
}

describe("upgrades", () => {
  test("are offered to agents that can exchange themselves and are older, and to no others", async () => {
    const { subject } = await setup(20);
    expect(await subject.offerTo(agent("a0"))).toEqual(program);
    expect(await subject.offerTo(agent("a1", { version: "1.1.0" }))).toBeUndefined();
    expect(await subject.offerTo(agent("a1", { version: "1.2.0" }))).toBeUndefined();
    expect(await subject.offerTo(agent("a1", { features: [] }))).toBeUndefined();
  });

  test("go to a share of the agents at a time, and on when one has come to an end", async () => {
    const { subject, clock } = await setup(8);
    expect(turns(8)).toBe(2);
    const offered = async (id: string) => (await subject.offerTo(agent(id))) !== undefined;
    expect([await offered("a0"), await offered("a1"), await offered("a2"), await offered("a0")]).toEqual([
      true,
      true,
      false,
      true,
    ]);
    await subject.offerTo(agent("a0", { version: "1.1.0" }));
    expect(await offered("a2")).toBe(true);
    const failedUpgrade = { version: "1.1.0", sha256: "new", reason: "no" };
    expect(await subject.offerTo(agent("a1", { failedUpgrade }))).toBeUndefined();
    expect(await offered("a3")).toBe(true);
    expect(await offered("a4")).toBe(false);
    clock.advance(limits.upgradeUnderWayMs + 1);
    expect(await offered("a4")).toBe(true);
  });

  test("ask an agent that joined long ago to look, when its turn has come, and not at every heartbeat", async () => {
    const { subject, asked, beat, clock, leave } = await setup(1);
    beat(agent("a0", { version: "1.1.0" }));
    expect(asked).toEqual([]);
    beat(agent("a0"));
    beat(agent("a0"));
    expect(asked).toHaveLength(1);
    clock.advance(limits.upgradeAskMs);
    beat(agent("a0"));
    expect(asked).toHaveLength(2);
    await subject.offerTo(agent("a0"));
    clock.advance(limits.upgradeAskMs);
    beat(agent("a0")); // it has its answer
    beat(agent("a1")); // it must wait
    expect(asked).toHaveLength(2);
    leave(agent("a0"));
    beat(agent("a1"));
    expect(asked).toHaveLength(3);
  });

  test("keep nobody from joining when the program is damaged or not there", async () => {
    const { subject, find, errors } = await setup(1);
    find(async () => undefined);
    expect(await subject.offerTo(agent("a0"))).toBeUndefined();
    find(() => Promise.reject(new Error("not what was built")));
    expect(await subject.offerTo(agent("a0"))).toBeUndefined();
    expect(errors).toHaveLength(1);
  });
});
