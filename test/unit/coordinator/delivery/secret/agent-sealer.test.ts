import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { agentSealer } from "../../../../../coordinator/delivery/secret/agent-sealer.ts";
import { AgentInfoSchema, AgentState } from "../../../../../proto/gen/millrace/v1/agent_pb.ts";
import { TaskSecretsSchema } from "../../../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { limits } from "../../../../../shared/limits.ts";
import { newSealingKey, openSecrets } from "../../../../../shared/sealing/sealed-secrets.ts";

const key = newSealingKey();
const to = { agentId: "agent-1", executionId: "run_1.a.b", epoch: { term: 2, number: 5 } };
const uses = create(TaskSecretsSchema, {
  project: "shop",
  secrets: [
    { secret: "token", env: "A_TOKEN" },
    { secret: "token", env: "FILE", file: true },
  ],
});

function sealerOf(values: Readonly<Record<string, Uint8Array>>, sealingKey: Uint8Array = key.publicKey) {
  const info = create(AgentInfoSchema, { id: "agent-1", sealingKey });
  const record = { info, state: AgentState.ONLINE, heard: true, lastHeartbeatMs: 0 };
  return agentSealer({
    agents: { list: () => [record] },
    values: { read: async (project) => new Map(project === "shop" ? Object.entries(values) : []) },
  });
}

describe("secrets of a task", () => {
  test("are sealed to the key of the agent, each as it is used", async () => {
    const sealing = await sealerOf({ token: Buffer.from("npm_0123456789") }).seal(uses, to);
    if (sealing.kind !== "sealed") throw new Error(sealing.why);
    const values = openSecrets(key, { ...to, epoch: { term: 2n, number: 5n } }, sealing.sealed);
    expect(values.map(({ use, value }) => [use?.env, use?.file, Buffer.from(value).toString()])).toEqual([
      ["A_TOKEN", false, "npm_0123456789"],
      ["FILE", true, "npm_0123456789"],
    ]);
  });

  test("that were removed meanwhile end it, with the name and what to do", async () => {
    expect(await sealerOf({}).seal(uses, to)).toEqual({
      kind: "impossible",
      why: "the secret token of the project shop has no value: `millrace secret set token --project shop`, then run it again",
    });
  });

  test("that are too large together end it", async () => {
    const large = await sealerOf({ token: Buffer.alloc(limits.sealedSecretsBytes / 2, "x") }).seal(uses, to);
    expect(large.kind === "impossible" && large.why).toMatch(
      /^its secrets have .* together, and 192.0 KiB is the most for one task$/,
    );
  });

  test("are not for an agent without a key", async () => {
    const { kind } = await sealerOf({ token: Buffer.from("npm_0123456789") }, new Uint8Array()).seal(uses, to);
    expect(kind).toBe("unfit");
  });
});
