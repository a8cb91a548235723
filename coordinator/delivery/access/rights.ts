import type { Role } from "./principal.ts";

/** What a call needs. Each method of the API names one of these (coordinator/api/access.ts). */
export type Right =
  /** To find out who one is and what is offered here. */
  | "know"
  /** To see runs, logs, artifacts, agents, pools, environments, projects. */
  | "read"
  /** To read blobs and cached results, by digest. */
  | "fetch"
  /** To add blobs. */
  | "store"
  /** To add cached results, which others take for their own. */
  | "share"
  /** To start runs, and to have tasks of them done once more. */
  | "submit"
  /** To cancel and pin runs. */
  | "handle"
  /** To say something about a run, and to lay evidence beside a gate. */
  | "comment"
  /** To vote at gates, as far as the gate says so too. */
  | "decide"
  /** To pause and resume runs, and to skip tasks. */
  | "steer"
  /** To change what executes: pools and agents. */
  | "operate"
  /** To change who may do what, and all that the farm keeps. */
  | "administer"
  /** To take work and to report on it. */
  | "execute"
  /** To be let in as an agent. */
  | "enrol";

const viewing: readonly Right[] = ["know", "read", "fetch"];
const developing: readonly Right[] = [...viewing, "store", "share", "submit", "handle", "comment", "decide"];

const ofRole: Readonly<Record<Role, readonly Right[]>> = {
  viewer: viewing,
  developer: developing,
  approver: [...viewing, "comment", "decide"],
  operator: [...viewing, "handle", "comment", "steer", "operate"],
  admin: [...developing, "steer", "operate", "administer"],
  agent: ["know", "fetch", "store", "execute"],
  enrolment: ["enrol"],
};

/** Whether a role has a right; in which projects is for the token to say. */
export function hasRight(role: Role, right: Right): boolean {
  return ofRole[role].includes(right);
}

/** Who has a right, for messages. */
export function rolesWith(right: Right): Role[] {
  return (Object.keys(ofRole) as Role[]).filter((role) => hasRight(role, right));
}
