import { limits } from "../../../shared/limits.ts";
import type { Sqlite, Statement } from "../../../shared/sqlite/sqlite.ts";
import type { HeldEnrolment } from "./enrolment-rules.ts";
import type { EnrolmentToken } from "./enrolments.ts";

/** An enrolment token with the hash that it is known by. */
export interface KnownToken extends EnrolmentToken {
  readonly secretSha256: string;
  /** Wall time; undefined while it can be used. */
  readonly usedMs: number | undefined;
}

/** An agent whose secret is refused. */
export interface RemovedAgent {
  readonly id: string;
  readonly secretSha256: string;
  readonly removedMs: number;
}

/** Things by their name, and by the hash of their secret. */
export interface Book<T> {
  get(name: string): T | undefined;
  bySecret(secretSha256: string): T | undefined;
  put(entry: T): void;
  drop(name: string): boolean;
  values(): Iterable<T>;
}

/** All that is known of enrolment, as it stands in memory. */
export interface EnrolmentBooks {
  readonly tokens: Book<KnownToken>;
  readonly agents: Book<HeldEnrolment>;
  /** By the hash of their secret: an agent may be removed more than once. */
  readonly removed: Map<string, RemovedAgent>;
}

function book<T extends { readonly secretSha256: string }>(nameOf: (entry: T) => string): Book<T> {
  const byName = new Map<string, T>();
  const bySecret = new Map<string, T>();
  return {
    get: (name) => byName.get(name),
    bySecret: (secretSha256) => bySecret.get(secretSha256),
    put(entry) {
      byName.set(nameOf(entry), entry);
      bySecret.set(entry.secretSha256, entry);
    },
    drop(name) {
      const entry = byName.get(name);
      if (entry === undefined) return false;
      bySecret.delete(entry.secretSha256);
      return byName.delete(name);
    },
    values: () => byName.values(),
  };
}

/** When what is spent is forgotten: wall times before which it ended. */
function horizons(nowMs: number) {
  return { tokensMs: nowMs - limits.spentTokensKeptMs, agentsMs: nowMs - limits.removedAgentsKeptMs };
}

/** Forgets on disk what nobody asks about any more. */
export function pruning(nowMs: number): Statement[] {
  const { tokensMs, agentsMs } = horizons(nowMs);
  return [
    { sql: "DELETE FROM enrolment_token WHERE COALESCE(used_ms, expires_ms) < ?", params: [tokensMs] },
    { sql: "DELETE FROM removed_agent WHERE removed_ms < ?", params: [agentsMs] },
  ];
}

/** The same in memory. */
export function prune({ tokens, removed }: EnrolmentBooks, nowMs: number): void {
  const { tokensMs, agentsMs } = horizons(nowMs);
  for (const { name, usedMs, expiresMs } of tokens.values()) if ((usedMs ?? expiresMs) < tokensMs) tokens.drop(name);
  for (const { secretSha256, removedMs } of removed.values()) if (removedMs < agentsMs) removed.delete(secretSha256);
}

interface TokenRow {
  name: string;
  sha256: string;
  pool: string;
  ephemeral: number;
  created_ms: number;
  expires_ms: number;
  used_by: string | null;
  used_ms: number | null;
}

interface AgentRow {
  id: string;
  hostname: string;
  public_key: string;
  secret_sha256: string;
  pool: string | null;
  ephemeral: number;
  enrolled_ms: number;
  admitted_by: "once" | "always";
}

/** What the disk knows. */
export async function loadBooks(sqlite: Pick<Sqlite, "query">): Promise<EnrolmentBooks> {
  const books: EnrolmentBooks = { tokens: book(({ name }) => name), agents: book(({ id }) => id), removed: new Map() };
  for (const row of await sqlite.query<TokenRow>("SELECT * FROM enrolment_token")) {
    books.tokens.put({
      name: row.name,
      secretSha256: row.sha256,
      pool: row.pool,
      ephemeral: row.ephemeral === 1,
      createdMs: row.created_ms,
      expiresMs: row.expires_ms,
      usedBy: row.used_by ?? undefined,
      usedMs: row.used_ms ?? undefined,
    });
  }
  for (const row of await sqlite.query<AgentRow>("SELECT * FROM enrolment")) {
    books.agents.put({
      id: row.id,
      hostname: row.hostname,
      publicKey: row.public_key,
      secretSha256: row.secret_sha256,
      pool: row.pool ?? undefined,
      ephemeral: row.ephemeral === 1,
      enrolledMs: row.enrolled_ms,
      admittedBy: row.admitted_by,
    });
  }
  const sql = "SELECT id, secret_sha256 AS secretSha256, removed_ms AS removedMs FROM removed_agent";
  for (const gone of await sqlite.query<RemovedAgent>(sql)) books.removed.set(gone.secretSha256, gone);
  return books;
}
