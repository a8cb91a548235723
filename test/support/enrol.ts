import type { Client } from "@connectrpc/connect";
import type { AgentService } from "../../proto/gen/millrace/v1/agent_pb.ts";
import { newBusKey } from "../../shared/bus/bus-key.ts";
import { newSecret, secretHash } from "../../shared/rpc/secret.ts";

/** What an agent makes before it asks to be let in. */
export interface NewKeys {
  readonly seed: string;
  readonly publicKey: string;
  readonly secret: string;
}

export function newKeys(): NewKeys {
  return { ...newBusKey(), secret: newSecret() };
}

/** Asks for an agent to be let in, as the agent does; gives its keys once it is. */
export async function enrol(
  agents: Pick<Client<typeof AgentService>, "enrolAgent">,
  { id, keys = newKeys() }: { readonly id: string; readonly keys?: NewKeys },
): Promise<NewKeys> {
  const secretSha256 = Buffer.from(secretHash(keys.secret), "hex");
  await agents.enrolAgent({ id, hostname: "test", natsPublicKey: keys.publicKey, secretSha256 });
  return keys;
}
