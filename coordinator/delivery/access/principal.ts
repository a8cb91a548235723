/** What a token may do: those of agents let agents in, the others are for people and programs. */
export const tokenRoles = ["viewer", "developer", "approver", "operator", "admin", "agent"] as const;

export type TokenRole = (typeof tokenRoles)[number];

/** What a caller may do. `agent` is a machine that executes, `enrolment` one that wants to be let in. */
export type Role = TokenRole | "enrolment";

/** Who makes a call. */
export interface Principal {
  /**
   * `user:<name>` for a call with a token of a person, `token:<name>` for one with a token that stands for itself,
   * `agent:<id>` for one of an agent, `system:<part>` for the coordinator itself. Equal names are one and the same.
   */
  readonly name: string;
  readonly role: Role;
  /** In which alone it may act; undefined: in all, and on what belongs to none. */
  readonly projects?: readonly string[] | undefined;
  /** With the role `agent`: which one. */
  readonly agentId?: string;
  /** With the role `enrolment`: the name of the token, where it lets in one agent alone. */
  readonly enrolmentToken?: string;
}

/** Whether it may act in a project at all; what it may do there is for its role to say. */
export function reaches({ projects }: Pick<Principal, "projects">, project: string): boolean {
  return projects === undefined || projects.includes(project);
}
