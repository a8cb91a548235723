import type { AgentInfo } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";

/** The present start of an agent's process, and those before it. */
export interface Started {
  /** When it joined for the first time, wall time. */
  readonly startedMs: number;
  /** Sessions of earlier starts, the newest last; at most `limits.supersededSessions`. */
  readonly superseded: readonly string[];
}

/**
 * What is known of the starts of an agent once this one has joined. A session that was not seen before is a restart and
 * takes over at once; one from which another has taken over is a second process with the same identity, as of a copied
 * machine, and would only take its turns with the other.
 * @throws MillraceError already_exists for the latter, with who took over
 */
export function startedNow(
  { id, session }: Pick<AgentInfo, "id" | "session">,
  before: (Started & { readonly info: Pick<AgentInfo, "session" | "hostname"> }) | undefined,
  nowMs: number,
): Started {
  if (before === undefined) return { startedMs: nowMs, superseded: [] };
  const { startedMs, superseded, info } = before;
  if (info.session === session) return { startedMs, superseded };
  if (superseded.includes(session)) {
    throw new MillraceError(
      "already_exists",
      `another process took over as the agent "${id}": on ${info.hostname}, since ${new Date(startedMs).toISOString()}. ` +
        "Where both are wanted, give one of them a data folder of its own and let it enrol under another --name",
    );
  }
  return { startedMs: nowMs, superseded: [...superseded, info.session].slice(-limits.supersededSessions) };
}
