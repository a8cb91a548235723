import { from } from "../../../shared/errors.ts";
import type { BusUsers } from "./bus-users.ts";
import type { Enrolments } from "./enrolments.ts";

/** For the start of the coordinator. */
export interface AdmitsAll {
  /** Puts in force what stands on disk. */
  admitAll(): Promise<void>;
}

/**
 * Who is enrolled has a user on the bus, and nobody else: an agent that hears that it was let in can connect at once, and
 * the connection of one that was removed is closed before its remover hears that it is.
 * @param onError told when a new user is not in force yet; its agent tries again until it is
 */
export function admittingEnrolments(
  base: Enrolments,
  users: BusUsers,
  onError: (error: unknown) => void,
): Enrolments & AdmitsAll {
  const admitAll = () => users.admit(base.list().map(({ id, publicKey }) => ({ agentId: id, publicKey })));
  return {
    ...base,
    admitAll,
    async enrol(agent, admission) {
      const enrolled = await base.enrol(agent, admission);
      await admitAll().catch(onError);
      return enrolled;
    },
    async revoke(id) {
      await base.revoke(id);
      await admitAll().catch((error: unknown) => {
        throw from(error, `${id} is removed, but its connection to the bus may still be open`);
      });
    },
  };
}
