import type { BusUsers } from "./bus-users.ts";

/**
 * For a NATS of others, whose users are not ours to change: all agents share the one that its operator gave us. They are
 * not isolated from each other there, and one that was removed is kept out by the coordinator alone.
 */
export function sharedBusUser(): BusUsers {
  return { admit: async () => undefined };
}
