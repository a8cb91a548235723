import type { Client } from "@connectrpc/connect";
import type { AdminService } from "../../proto/gen/millrace/v1/admin_pb.ts";
import type { AgentService } from "../../proto/gen/millrace/v1/agent_pb.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { secretHash } from "../../shared/rpc/secret.ts";
import type { Patiently } from "../retry.ts";
import type { KeyFile } from "./agent-keys.ts";

/** How an agent is let in by its farm. */
export interface Enrolment {
  /**
   * Resolves when the farm knows the agent's keys, which may mean that it has made new ones and was let in with the token;
   * waits while the coordinator is away. Throws when the farm does not want them.
   */
  confirm(signal: AbortSignal): Promise<void>;
  /** The farm has refused the keys: lets the agent in anew, with the token. Throws the refusal when it has none. */
  renew(refusal: unknown, signal: AbortSignal): Promise<void>;
}

export interface EnrolmentOptions {
  readonly id: string;
  readonly hostname: string;
  /** `host:port`, for a person. */
  readonly coordinator: string;
  readonly keys: KeyFile;
  /** Without its fingerprint; undefined when the agent was given none. */
  readonly token: string | undefined;
  /** The bearer of both is the secret of `keys`, unless a call says another one. */
  readonly agents: Pick<Client<typeof AgentService>, "enrolAgent">;
  readonly admin: Pick<Client<typeof AdminService>, "describeCoordinator">;
  readonly patiently: Patiently;
  /** As the agent was told it; `default` when it was told none. */
  readonly pool: string | undefined;
  /** Told when the token says another pool, which then counts. */
  readonly onError: (error: MillraceError) => void;
}

export function enrolment(options: EnrolmentOptions): Enrolment {
  const { id, hostname, coordinator, keys, token, agents, admin, patiently, pool: said, onError } = options;

  /** @param hint ends the message when it is refused */
  async function enrol(signal: AbortSignal, hint = ""): Promise<void> {
    if (token === undefined) {
      throw new MillraceError(
        "failed_precondition",
        `the agent "${id}" is not enrolled at ${coordinator}: start it with a token (\`millrace token create --role agent\`)`,
      );
    }
    const { publicKey, secret } = keys.current() ?? keys.renew();
    const request = { id, hostname, natsPublicKey: publicKey, secretSha256: Buffer.from(secretHash(secret), "hex") };
    const call = () => agents.enrolAgent(request, { signal, headers: { authorization: `Bearer ${token}` } });
    const doing = `enrolling as "${id}" at ${coordinator}`;
    const { pool } = await patiently(signal, doing, call).catch((error: unknown) => {
      const failure = from(error);
      // Without its cause: what a command line advises about refused tokens is for people's.
      throw new MillraceError(failure.code, failure.message + hint);
    });
    keys.markEnrolled();
    if (pool === "" || pool === said || said === "default") return;
    onError(new MillraceError("failed_precondition", `${doing}: the token is for the pool ${pool}, not for ${said}`));
  }

  async function renew(refusal: unknown, signal: AbortSignal): Promise<void> {
    const { message } = from(refusal);
    if (token === undefined) {
      throw new MillraceError(
        "unauthenticated",
        `${coordinator} refuses the keys of the agent "${id}" (${keys.path}): ${message}. Start it with a new token`,
      );
    }
    const earlier = keys.current();
    // Those that the farm never said it knows may have been on their way when the process ended: they ask once more.
    if (earlier?.isEnrolled !== false) keys.renew();
    try {
      await enrol(signal, `; before, it had refused the keys in ${keys.path}: ${message}`);
    } catch (error) {
      if (earlier !== undefined && !signal.aborted) keys.restore(earlier);
      throw error;
    }
  }

  return {
    async confirm(signal) {
      if (keys.current() === undefined) return enrol(signal);
      const ask = () => admin.describeCoordinator({}, { signal });
      try {
        await patiently(signal, `showing ${coordinator} who we are`, ask);
        keys.markEnrolled();
      } catch (error) {
        if (from(error).code !== "unauthenticated") throw error;
        await renew(error, signal);
      }
    },
    renew,
  };
}

/** Joins with new keys where the farm refuses those that the agent has, as far as it was given a token. */
export function enrollingCoordinator(
  client: Pick<Client<typeof AgentService>, "joinFarm">,
  { renew }: Pick<Enrolment, "renew">,
  signal: AbortSignal,
): Pick<Client<typeof AgentService>, "joinFarm"> {
  return {
    async joinFarm(request, options) {
      try {
        return await client.joinFarm(request, options);
      } catch (error) {
        if (from(error).code !== "unauthenticated") throw error;
        await renew(error, signal);
        return await client.joinFarm(request, options);
      }
    },
  };
}
