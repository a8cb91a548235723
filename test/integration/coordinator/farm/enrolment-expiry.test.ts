import { create } from "@bufbuild/protobuf";
import { expect, onTestFinished, test, vi } from "vitest";
import type { AgentRecord } from "../../../../coordinator/farm/agents/agent-registry.ts";
import { agentSchema, busAgentRegistry } from "../../../../coordinator/farm/agents/bus-agent-registry.ts";
import { enrolmentExpiry } from "../../../../coordinator/farm/agents/enrolment-expiry.ts";
import { enrolmentSchema, openEnrolments } from "../../../../coordinator/farm/agents/sqlite-enrolments.ts";
import { AgentInfoSchema } from "../../../../proto/gen/millrace/v1/agent_pb.ts";
import { inProcessBus } from "../../../../shared/bus/in-process-bus.ts";
import { limits } from "../../../../shared/limits.ts";
import { secretHash } from "../../../../shared/rpc/secret.ts";
import { openSqlite } from "../../../../shared/sqlite/open.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const keptMs = limits.lostAgentKeptMs;

/** Registry and enrolments on one disk, and what looks after the latter. */
async function setup() {
  const clock = fakeClock();
  const sqlite = await openSqlite({ path: `${tempDir()}/t.db`, schema: [agentSchema, enrolmentSchema] });
  onTestFinished(() => sqlite.close());
  const onError = (error: unknown): void => expect.unreachable(String(error));
  const { enrolments, tokens } = await openEnrolments({ sqlite, clock });
  const agents = busAgentRegistry({
    bus: inProcessBus().connect(),
    sqlite,
    clock,
    term: 1,
    lostKeptMs: keptMs,
    onError,
  });
  const expiry = enrolmentExpiry({ enrolments, agents, keptMs, clock, onError });
  for (const part of [agents, expiry]) await part.start?.();
  onTestFinished(async () => {
    await expiry.stop?.();
    await agents.stop?.();
  });
  return {
    ...{ clock, agents, tokens },
    async letIn(id: string, ephemeral = false) {
      const { token } = await enrolments.create({ pool: "linux", ttlMs: 60_000, ephemeral });
      const keys = { publicKey: `U${id}`, secretSha256: secretHash(id) };
      await enrolments.enrol({ id, hostname: "h", ...keys }, { kind: "once", token: token.name });
    },
    join: (id: string): Promise<AgentRecord> => agents.join(create(AgentInfoSchema, { id, session: "s", slots: 1 })),
    enrolled: () => enrolments.list().map(({ id }) => id),
  };
}

test("who never joined goes when its time is over, and an ephemeral agent within hours", async () => {
  const { clock, tokens, letIn, enrolled } = await setup();
  await letIn("never");
  await letIn("once", true);
  clock.advance(limits.enrolmentLookMs - 1);
  expect(enrolled()).toEqual(["never", "once"]);
  clock.advance(1);
  await vi.waitFor(() => expect(enrolled()).toEqual(["never"]));
  expect(tokens.identify("once")).toMatchObject({ kind: "removed", id: "once" });
  clock.jump(keptMs);
  clock.advance(limits.enrolmentLookMs);
  await vi.waitFor(() => expect(enrolled()).toEqual([]));
});

test("with an agent that is lost for long, its enrolment goes at the next look, and not when it joins before that", async () => {
  const { clock, agents, letIn, join, enrolled } = await setup();
  for (const id of ["gone", "back"]) {
    await letIn(id);
    await join(id);
  }
  clock.advance(limits.leaseMs + 2 * limits.heartbeatIntervalMs); // both are lost
  clock.jump(keptMs + 1);
  clock.advance(limits.heartbeatIntervalMs);
  await vi.waitFor(() => expect(agents.list()).toEqual([])); // both are forgotten
  expect(enrolled()).toEqual(["back", "gone"]);
  await join("back");
  clock.advance(limits.enrolmentLookMs);
  await vi.waitFor(() => expect(enrolled()).toEqual(["back"]));
});
