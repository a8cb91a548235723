import type { JoinFarmResponse } from "../../proto/gen/millrace/v1/agent_pb.ts";
import type { BusLogin } from "../../shared/bus/nats-bus.ts";
import { inboxOf } from "../../shared/bus/subjects.ts";
import { hostPort, isAnyAddress, splitAddress } from "../../shared/network-address.ts";
import type { Trust } from "../../shared/tls/trust.ts";
import type { KeyFile } from "../enrolment/agent-keys.ts";

/** The coordinator, as this agent reaches it. */
export interface ReachedCoordinator {
  /** `host:port` */
  readonly address: string;
  /** Undefined: plain. */
  readonly trust: Trust | undefined;
}

/**
 * Where the bus is for this agent. A server that listens on all of the coordinator's machine is called 0.0.0.0 or [::] in the
 * answer: for each agent it is at the host at which that agent reached the coordinator.
 */
export function busServersOf({ natsServers }: Pick<JoinFarmResponse, "natsServers">, address: string): string[] {
  return natsServers.map((server) => {
    const [, scheme = "", rest = ""] = /^([a-z]+:\/\/)?(.*)$/.exec(server) ?? [];
    const { host, port } = splitAddress(rest);
    return isAnyAddress(host) ? scheme + hostPort(splitAddress(address).host, port) : server;
  });
}

/** By whom the bus is vouched for; undefined where it is plain, which is the coordinator's word and not that of the network. */
export function busTrustOf(answer: Pick<JoinFarmResponse, "natsServers" | "natsCa">, { trust }: ReachedCoordinator) {
  if (!answer.natsServers.some((server) => server.startsWith("tls:"))) return undefined;
  if (answer.natsCa === "") return trust ?? systemTrust;
  return answer.natsCa === "system" ? systemTrust : { caPem: answer.natsCa, checksName: true };
}

/** As whom an agent signs in: as itself, or as the user that all agents share where the farm's NATS is one of others. */
export function busLoginOf(
  { natsUser, natsPassword }: Pick<JoinFarmResponse, "natsUser" | "natsPassword">,
  { id, keys }: { readonly id: string; readonly keys: Pick<KeyFile, "current"> },
): BusLogin {
  if (natsUser !== "") return { user: natsUser, password: natsPassword };
  return { seed: () => keys.current()?.seed ?? "", inbox: inboxOf(id) };
}

const systemTrust: Trust = { caPem: undefined, checksName: true };
