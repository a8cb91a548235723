import type { ServiceImpl } from "@connectrpc/connect";
import type { EnvironmentService } from "../../../proto/gen/millrace/v1/environment_pb.ts";
import type { Environments } from "../../delivery/environment/environments.ts";

/** EnvironmentService: what stands where. */
export function environmentService(environments: Pick<Environments, "get">): ServiceImpl<typeof EnvironmentService> {
  return {
    async getEnvironment({ environment }) {
      return { environment: await environments.get(environment) };
    },
  };
}
