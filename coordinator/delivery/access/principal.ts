/** What a token may do: those of agents let agents in, the others are for people and programs. */
export type TokenRole = "admin" | "developer" | "agent";

/** What a caller may do. `agent` is a machine that executes, `enrolment` one that wants to be let in. */
export type Role = TokenRole | "enrolment";

/** Who makes a call. */
export interface Principal {
  /** `token:<name>` for a call with a token, `agent:<id>` for one of an agent, `system:<part>` for the coordinator itself. */
  readonly name: string;
  readonly role: Role;
  /** With the role `agent`: which one. */
  readonly agentId?: string;
  /** With the role `enrolment`: the name of the token, where it lets in one agent alone. */
  readonly enrolmentToken?: string;
}
