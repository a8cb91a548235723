/** A token that lets one agent in, once. Only its SHA-256 is kept. */
export interface EnrolmentToken {
  /** `[a-z0-9-]{1,64}`. */
  readonly name: string;
  /** The pool label of the agent that it lets in. */
  readonly pool: string;
  /** The agent that it lets in runs one task and ends. */
  readonly ephemeral: boolean;
  /** Wall times. */
  readonly createdMs: number;
  readonly expiresMs: number;
  /** The agent that it let in; undefined while it can still be used. */
  readonly usedBy: string | undefined;
}

/** What an enrolment token is to be. */
export interface NewEnrolmentToken {
  readonly pool: string;
  readonly ttlMs: number;
  readonly ephemeral: boolean;
  /** Undefined makes one up. */
  readonly name?: string | undefined;
}

/** What an agent says that wants to be let in. It has made both keys itself and shows neither. */
export interface NewAgent {
  /** `[a-z0-9-]{1,64}`. */
  readonly id: string;
  readonly hostname: string;
  /** Of its user on the bus. */
  readonly publicKey: string;
  /** Of the secret that is its bearer from now on, as hex. */
  readonly secretSha256: string;
}

/** An agent that was let in. */
export interface Enrolment extends NewAgent {
  /** Its pool label; undefined where the agent says it itself. */
  readonly pool: string | undefined;
  readonly ephemeral: boolean;
  /** Wall time. */
  readonly enrolledMs: number;
}

/**
 * What lets an agent in: an enrolment token by its name, which does so once; or a token of the farm's own, which does so
 * many times and may give an id anew (`mayReplace`) whose agent has lost its keys.
 */
export type Admission =
  | { readonly kind: "once"; readonly token: string }
  | { readonly kind: "always"; readonly token: string; readonly mayReplace: boolean };

/**
 * Which agents the farm has let in, and what lets in more. Decisions are made in the order of the calls: of agents that
 * race with one token, one wins. What resolves is durable. Whoever opened it closes what it stands on.
 */
export interface Enrolments {
  /** Throws `invalid_argument` for a bad name or pool, `already_exists` for a name that is taken. */
  create(token: NewEnrolmentToken): Promise<{ readonly secret: string; readonly token: EnrolmentToken }>;
  /**
   * Lets an agent in. The same keys under the same id are let in again with any token that is not another's, and use none
   * up: the first answer may have been lost on its way. Throws `permission_denied` for a token that was used,
   * `unauthenticated` for one that is expired or unknown, `already_exists` for an id that another agent has.
   */
  enrol(agent: NewAgent, admission: Admission): Promise<Enrolment>;
  /** Undefined for an agent that is not enrolled, or no more. */
  find(id: string): Enrolment | undefined;
  /** By id. */
  list(): readonly Enrolment[];
  /** Its secret is refused from the call on. Throws `not_found`. */
  revoke(id: string): Promise<void>;
}

/** Whose secret a bearer is. `removed` was an agent's until then. */
export type Bearer =
  | { readonly kind: "agent"; readonly id: string }
  | { readonly kind: "token"; readonly name: string }
  | { readonly kind: "removed"; readonly id: string; readonly removedMs: number };

/** The other side of the same: for those who check bearers and those who look after tokens. */
export interface EnrolmentTokens {
  /** Undefined when it is none of ours. A token that was used or is expired is still known: `enrol` says what is wrong. */
  identify(secret: string): Bearer | undefined;
  /** By name, also used and expired ones, for `limits.spentTokensKeptMs` after their end. */
  list(): readonly EnrolmentToken[];
  /** It lets nobody in from the call on. Throws `not_found`. */
  revoke(name: string): Promise<void>;
}
