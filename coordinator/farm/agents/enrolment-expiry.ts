import type { Clock } from "../../../shared/clock.ts";
import { from } from "../../../shared/errors.ts";
import type { Component } from "../../../shared/lifecycle.ts";
import { limits } from "../../../shared/limits.ts";
import type { AgentRegistry } from "./agent-registry.ts";
import type { Enrolment, Enrolments } from "./enrolments.ts";

export interface EnrolmentExpiryDeps {
  readonly enrolments: Pick<Enrolments, "list" | "revoke">;
  readonly agents: Pick<AgentRegistry, "list">;
  /** For so long an enrolment outlives the last that was known of its agent; may be `Infinity`. */
  readonly keptMs: number;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

/**
 * Revokes what nobody will use any more. The registry forgets an agent that is lost for `keptMs`; its enrolment goes with
 * the next look, as do those of agents that never joined. Keys that were left on a machine somewhere open no door then.
 */
export function enrolmentExpiry({ enrolments, agents, keptMs, clock, onError }: EnrolmentExpiryDeps): Component {
  const known = () => new Set(agents.list().map(({ info }) => info.id));
  let cancel = (): void => undefined;
  let looking = Promise.resolve();

  async function look(): Promise<void> {
    for (const { id } of expired(enrolments.list(), known(), { keptMs, nowMs: clock.nowMs() })) {
      if (known().has(id)) continue; // it has joined while others were revoked
      await enrolments
        .revoke(id)
        .catch((error: unknown) => onError(from(error, `revoking the enrolment of ${id}, which is not used any more`)));
    }
  }

  function lookLater(): void {
    cancel = clock.after(limits.enrolmentLookMs, () => {
      lookLater();
      looking = looking.then(look);
    });
  }

  return {
    name: "expiry of enrolments",
    start: async () => lookLater(),
    async stop() {
      cancel();
      await looking;
    },
  };
}

/** @param known ids of the agents that have joined and are not forgotten: theirs never expire */
function expired(
  enrolments: readonly Enrolment[],
  known: ReadonlySet<string>,
  { keptMs, nowMs }: { readonly keptMs: number; readonly nowMs: number },
): readonly Enrolment[] {
  return enrolments.filter(({ id, enrolledMs, ephemeral }) => {
    const ownMs = ephemeral ? Math.min(keptMs, limits.ephemeralEnrolmentMs) : keptMs;
    return !known.has(id) && nowMs - enrolledMs >= ownMs;
  });
}
