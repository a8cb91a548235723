import { randomBytes } from "node:crypto";
import type { Clock } from "../../../shared/clock.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import { newSecret, secretHash } from "../../../shared/rpc/secret.ts";
import type { SchemaPart, Sqlite, Statement } from "../../../shared/sqlite/sqlite.ts";
import { type EnrolmentBooks, type KnownToken, loadBooks, prune, pruning } from "./enrolment-book.ts";
import { decideEnrolment, type HeldEnrolment } from "./enrolment-rules.ts";
import type { Enrolments, EnrolmentTokens, NewAgent, NewEnrolmentToken } from "./enrolments.ts";

export const enrolmentSchema: SchemaPart = {
  name: "enrolments",
  migrations: [
    `CREATE TABLE enrolment_token (
     name TEXT PRIMARY KEY,
     sha256 TEXT NOT NULL UNIQUE,
     pool TEXT NOT NULL,
     ephemeral INTEGER NOT NULL,
     created_ms INTEGER NOT NULL,
     expires_ms INTEGER NOT NULL,
     -- The agent that it let in.
     used_by TEXT,
     used_ms INTEGER
   ) STRICT;
   CREATE TABLE enrolment (
     id TEXT PRIMARY KEY,
     hostname TEXT NOT NULL,
     public_key TEXT NOT NULL UNIQUE,
     secret_sha256 TEXT NOT NULL UNIQUE,
     -- Null where the agent says it itself.
     pool TEXT,
     ephemeral INTEGER NOT NULL,
     enrolled_ms INTEGER NOT NULL,
     -- once or always
     admitted_by TEXT NOT NULL
   ) STRICT;
   -- So that an agent hears why it is refused.
   CREATE TABLE removed_agent (
     secret_sha256 TEXT PRIMARY KEY,
     id TEXT NOT NULL,
     removed_ms INTEGER NOT NULL
   ) STRICT`,
  ],
};

export interface EnrolmentsOptions {
  readonly sqlite: Sqlite;
  readonly clock: Clock;
}

/**
 * Everything is decided in memory, so that two calls cannot both win, and answered when it is on disk. What cannot be
 * written is undone and said to its caller.
 */
export async function openEnrolments({ sqlite, clock }: EnrolmentsOptions) {
  await sqlite.write(pruning(clock.nowMs()));
  const books = await loadBooks(sqlite);
  return { enrolments: enrolmentsIn(books, { sqlite, clock }), tokens: tokensIn(books, sqlite) };
}

function enrolmentsIn(books: EnrolmentBooks, { sqlite, clock }: EnrolmentsOptions): Enrolments {
  const { tokens, agents } = books;
  /** Enrolments that are on their way to the disk, by agent. */
  const storing = new Map<string, Promise<unknown>>();

  return {
    async create(wanted) {
      const secret = newSecret();
      const token = tokenOf(wanted, secretHash(secret), clock.nowMs());
      const { name, createdMs } = token;
      if (tokens.get(name) !== undefined) {
        throw new MillraceError(
          "already_exists",
          `there is a token "${name}" already: revoke it first, or choose another name`,
        );
      }
      prune(books, createdMs);
      tokens.put(token);
      try {
        await sqlite.write([...pruning(createdMs), insertToken(token)]);
      } catch (error) {
        tokens.drop(name);
        throw from(error, `storing the enrolment token ${name}`);
      }
      return { secret, token };
    },

    async enrol(agent, admission) {
      const nowMs = clock.nowMs();
      const token = admission.kind === "once" ? tokens.get(admission.token) : undefined;
      const held = agents.get(agent.id);
      const ruling = decideEnrolment({ agent, admission, token, held, twin: twinOf(books, agent), nowMs });
      if (ruling === "again" && held !== undefined) {
        await storing.get(agent.id);
        return held;
      }
      const { pool, ephemeral = false } = token ?? {};
      const enrolled: HeldEnrolment = { ...agent, pool, ephemeral, enrolledMs: nowMs, admittedBy: admission.kind };
      const before = held === undefined ? [] : remove(books, held, nowMs);
      agents.put(enrolled);
      if (token !== undefined) tokens.put({ ...token, usedBy: agent.id, usedMs: nowMs });
      const stored = sqlite.write([...before, insertAgent(enrolled), ...useToken(token, enrolled)]);
      storing.set(agent.id, stored);
      try {
        await stored;
      } catch (error) {
        agents.drop(agent.id);
        if (held !== undefined) restore(books, held);
        if (token !== undefined) tokens.put(token);
        throw from(error, `storing the enrolment of ${agent.id}`);
      } finally {
        storing.delete(agent.id);
      }
      return enrolled;
    },

    find: (id) => agents.get(id),
    list: () => [...agents.values()].sort((a, b) => (a.id < b.id ? -1 : 1)),

    async revoke(id) {
      const agent = agents.get(id);
      if (agent === undefined) throw new MillraceError("not_found", `no agent "${id}" is enrolled`);
      // Not undone when the disk refuses it: a failure must not let in whom an admin has sent away.
      await sqlite.write(remove(books, agent, clock.nowMs()));
    },
  };
}

function tokensIn({ tokens, agents, removed }: EnrolmentBooks, sqlite: Sqlite): EnrolmentTokens {
  return {
    identify(secret) {
      const sha256 = secretHash(secret);
      const agent = agents.bySecret(sha256);
      if (agent !== undefined) return { kind: "agent", id: agent.id };
      const token = tokens.bySecret(sha256);
      if (token !== undefined) return { kind: "token", name: token.name };
      const gone = removed.get(sha256);
      return gone === undefined ? undefined : { kind: "removed", id: gone.id, removedMs: gone.removedMs };
    },
    list: () => [...tokens.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
    async revoke(name) {
      if (!tokens.drop(name)) throw new MillraceError("not_found", `there is no enrolment token "${name}"`);
      await sqlite.write([{ sql: "DELETE FROM enrolment_token WHERE name = ?", params: [name] }]);
    },
  };
}

/** The name of another agent that has one of these keys, or had one until it was removed. */
function twinOf({ agents, removed }: EnrolmentBooks, { id, publicKey, secretSha256 }: NewAgent): string | undefined {
  for (const other of agents.values()) {
    if (other.id !== id && (other.publicKey === publicKey || other.secretSha256 === secretSha256)) return other.id;
  }
  const gone = removed.get(secretSha256);
  return gone?.id === id ? undefined : gone?.id;
}

function remove(
  { agents, removed }: EnrolmentBooks,
  { id, secretSha256 }: HeldEnrolment,
  removedMs: number,
): Statement[] {
  agents.drop(id);
  removed.set(secretSha256, { id, secretSha256, removedMs });
  return [
    { sql: "DELETE FROM enrolment WHERE id = ?", params: [id] },
    {
      sql: "INSERT OR REPLACE INTO removed_agent (secret_sha256, id, removed_ms) VALUES (?, ?, ?)",
      params: [secretSha256, id, removedMs],
    },
  ];
}

function restore({ agents, removed }: EnrolmentBooks, agent: HeldEnrolment): void {
  removed.delete(agent.secretSha256);
  agents.put(agent);
}

function tokenOf(wanted: NewEnrolmentToken, secretSha256: string, createdMs: number): KnownToken {
  const { name = `agent-${randomBytes(3).toString("hex")}`, pool, ttlMs, ephemeral } = wanted;
  for (const [what, value] of [
    ["a token's name", name],
    ["a pool", pool],
  ]) {
    if (value !== undefined && /^[a-z0-9-]{1,64}$/.test(value)) continue;
    throw new MillraceError("invalid_argument", `${what} is 1 to 64 of a-z, 0-9 and "-"; got "${value}"`);
  }
  const spent = { usedBy: undefined, usedMs: undefined };
  return { name, secretSha256, pool, ephemeral, createdMs, expiresMs: createdMs + ttlMs, ...spent };
}

function insertToken(token: KnownToken): Statement {
  const { name, secretSha256, pool, ephemeral, createdMs, expiresMs } = token;
  return {
    sql: `INSERT INTO enrolment_token (name, sha256, pool, ephemeral, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?)`,
    params: [name, secretSha256, pool, ephemeral ? 1 : 0, createdMs, expiresMs],
  };
}

function insertAgent(agent: HeldEnrolment): Statement {
  const { id, hostname, publicKey, secretSha256, pool, ephemeral, enrolledMs, admittedBy } = agent;
  return {
    sql: `INSERT INTO enrolment (id, hostname, public_key, secret_sha256, pool, ephemeral, enrolled_ms, admitted_by)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    params: [id, hostname, publicKey, secretSha256, pool ?? null, ephemeral ? 1 : 0, enrolledMs, admittedBy],
  };
}

function useToken(token: KnownToken | undefined, { id, enrolledMs }: HeldEnrolment): Statement[] {
  if (token === undefined) return [];
  const sql = "UPDATE enrolment_token SET used_by = ?, used_ms = ? WHERE name = ?";
  return [{ sql, params: [id, enrolledMs, token.name] }];
}
