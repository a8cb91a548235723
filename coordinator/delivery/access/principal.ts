/** What a token may do. `agent` is for machines that execute; the others are for people and programs. */
export type Role = "admin" | "developer" | "agent";

/** Who makes a call. */
export interface Principal {
  /** `token:<name>` for a call with a token, `system:<part>` for the coordinator itself. */
  readonly name: string;
  readonly role: Role;
}
