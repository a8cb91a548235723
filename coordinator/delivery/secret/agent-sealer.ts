import { create } from "@bufbuild/protobuf";
import { SecretValueSchema, type TaskSecrets } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { formatBytes } from "../../../shared/format-bytes.ts";
import { limits } from "../../../shared/limits.ts";
import { sealSecrets } from "../../../shared/sealing/sealed-secrets.ts";
import type { AgentRegistry } from "../../farm/agents/agent-registry.ts";
import type { Sealing, SealTo, SecretSealer } from "../../farm/scheduler/secret-sealer.ts";
import type { SecretValues } from "./secret-values.ts";
import { setCommand } from "./set-command.ts";

export interface AgentSealerDeps {
  readonly values: Pick<SecretValues, "read">;
  readonly agents: Pick<AgentRegistry, "list">;
}

/** Seals values, as they are at this moment, to the key that an agent said when it joined. */
export function agentSealer({ values, agents }: AgentSealerDeps): SecretSealer {
  async function seal({ project, secrets }: TaskSecrets, { agentId, executionId, epoch }: SealTo): Promise<Sealing> {
    const sealingKey = agents.list().find(({ info }) => info.id === agentId)?.info.sealingKey;
    if (sealingKey?.byteLength !== 32) {
      return { kind: "unfit", why: `${agentId} has no key for secrets: its version is from before there were any` };
    }
    const read = await values.read(project, [...new Set(secrets.map(({ secret }) => secret))]);
    const found = secrets.flatMap((use) => {
      const value = read.get(use.secret);
      return value === undefined ? [] : [create(SecretValueSchema, { use, value })];
    });
    const lacking = secrets.find(({ secret }) => !read.has(secret));
    if (lacking !== undefined) {
      const command = setCommand({ project, name: lacking.secret });
      const why = `the secret ${lacking.secret} of the project ${project} has no value: \`${command}\`, then run it again`;
      return { kind: "impossible", why };
    }
    const sealedFor = { agentId, executionId, epoch: { term: BigInt(epoch.term), number: BigInt(epoch.number) } };
    const sealed = sealSecrets(sealingKey, sealedFor, found);
    const { byteLength } = sealed.ciphertext;
    if (byteLength <= limits.sealedSecretsBytes) return { kind: "sealed", sealed };
    const why = `its secrets have ${formatBytes(byteLength)} together, and ${formatBytes(limits.sealedSecretsBytes)} is the most for one task`;
    return { kind: "impossible", why };
  }

  return { seal };
}
