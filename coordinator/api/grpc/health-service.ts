import { once } from "node:events";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type Health,
  HealthCheckResponse_ServingStatus as Serving,
} from "../../../proto/gen/grpc/health/v1/health_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";

export interface HealthDeps {
  /** Full names of the services that are mounted. */
  readonly services: ReadonlySet<string>;
  /** Aborts when the coordinator begins to stop. */
  readonly stopping: AbortSignal;
}

/** grpc.health.v1: SERVING until the coordinator begins to stop. Needs no token, for load balancers have none. */
export function healthService({ services, stopping }: HealthDeps): ServiceImpl<typeof Health> {
  const status = () => ({ status: stopping.aborted ? Serving.NOT_SERVING : Serving.SERVING });
  const known = (service: string) => service === "" || services.has(service);
  return {
    check({ service }) {
      if (!known(service)) throw new MillraceError("not_found", `no service "${service}" here`);
      return status();
    },
    async *watch({ service }, { signal }) {
      if (!known(service)) {
        yield { status: Serving.SERVICE_UNKNOWN };
        await once(signal, "abort");
        return;
      }
      yield status();
      if (stopping.aborted) return;
      await Promise.race([once(stopping, "abort", { signal }), once(signal, "abort")]);
      yield status();
    },
  };
}
