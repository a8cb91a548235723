import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { SecretValueSchema } from "../../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { newSealingKey, openSecrets, sealingKeyOf, sealSecrets } from "../../../../shared/sealing/sealed-secrets.ts";
import { failure } from "../../../support/codes.ts";

const key = newSealingKey();
const attempt = { agentId: "agent-1", executionId: "run_1.build.app", epoch: { term: 3n, number: 7n } };
const values = [
  create(SecretValueSchema, {
    use: { secret: "npm-token", env: "NPM_TOKEN", file: false },
    value: Buffer.from("npm_0123456789"),
  }),
];

describe("sealed secrets", () => {
  test("are opened by the agent that they are for, in the attempt that they are for", () => {
    const opened = openSecrets(sealingKeyOf(key.privateKey), attempt, sealSecrets(key.publicKey, attempt, values));
    expect(opened).toEqual(values);
  });

  test("show neither values nor names", () => {
    const { ciphertext } = sealSecrets(key.publicKey, attempt, values);
    expect(Buffer.from(ciphertext).toString("latin1")).not.toMatch(/npm/i);
  });

  test("are never sealed twice in the same way", () => {
    const [one, other] = [1, 2].map(() => sealSecrets(key.publicKey, attempt, values));
    expect(one?.ephemeralPublicKey).not.toEqual(other?.ephemeralPublicKey);
    expect(one?.ciphertext).not.toEqual(other?.ciphertext);
  });

  test.each([
    ["another agent", { ...attempt, agentId: "agent-2" }],
    ["another execution", { ...attempt, executionId: "run_1.build.apps" }],
    ["a later epoch", { ...attempt, epoch: { term: 3n, number: 8n } }],
    ["another term", { ...attempt, epoch: { term: 37n, number: 7n } }],
  ])("do not open for %s", async (_whom, other) => {
    const sealed = sealSecrets(key.publicKey, attempt, values);
    await failure("failed_precondition", async () => openSecrets(key, other, sealed));
  });

  test("do not open with another key, and say no value", async () => {
    const sealed = sealSecrets(key.publicKey, attempt, values);
    const { message } = await failure("failed_precondition", async () => openSecrets(newSealingKey(), attempt, sealed));
    expect(message).toContain("run_1.build.app");
    expect(message).not.toContain("npm_");
  });

  test.each([0, 5, -1])("do not open when byte %i was changed", async (at) => {
    const sealed = sealSecrets(key.publicKey, attempt, values);
    const changed = Buffer.from(sealed.ciphertext);
    const index = at < 0 ? changed.length + at : at;
    changed[index] = (changed[index] ?? 0) ^ 1;
    await failure("failed_precondition", async () => openSecrets(key, attempt, { ...sealed, ciphertext: changed }));
  });
});
