import { arch, platform } from "node:os";
import { createClient, type Transport } from "@connectrpc/connect";
import { AgentService } from "../../proto/gen/millrace/v1/agent_pb.ts";
import type { UpgradeFarm } from "./upgrader.ts";

/** What the farm of this agent does for its upgrades. */
export function upgradeFarm(transport: Transport, sayFailed: UpgradeFarm["sayFailed"]): UpgradeFarm {
  const farm = createClient(AgentService, transport);
  return {
    async *fetch({ sha256 }, signal) {
      const request = { sha256, platform: `${platform()}-${arch()}` };
      for await (const { data } of farm.fetchProgram(request, { signal })) yield data;
    },
    sayFailed,
  };
}
