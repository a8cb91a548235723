import { randomBytes } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../../shared/clock.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import { writePrivateFile } from "../../../shared/private-file.ts";
import { newSecret, secretHash } from "../../../shared/rpc/secret.ts";
import { formatToken } from "../../../shared/rpc/token.ts";
import type { SchemaPart, Sqlite } from "../../../shared/sqlite/sqlite.ts";
import { type Principal, type TokenRole, tokenRoles } from "./principal.ts";

/** What is known of a token; the token itself is not. */
export interface TokenInfo {
  readonly name: string;
  readonly role: TokenRole;
  /** The person whose it is; undefined: it stands for itself. */
  readonly user: string | undefined;
  /** In which alone it may act; undefined: in all. */
  readonly projects: readonly string[] | undefined;
  /** Wall time; undefined for tokens from before it was kept. */
  readonly createdMs: number | undefined;
  /** Wall time; undefined when it does not expire. */
  readonly expiresMs: number | undefined;
}

/** A token whose time is over. */
export type ExpiredToken = TokenInfo & { readonly expiresMs: number };

export interface NewToken {
  readonly role: TokenRole;
  /** `[a-z0-9-]{1,64}`; undefined makes one up. */
  readonly name: string | undefined;
  /** `[a-z0-9][a-z0-9._-]{0,62}` and no name of a role; undefined: the token stands for itself. */
  readonly user?: string | undefined;
  /** Undefined: all. Whether they are there is for the caller to see to. */
  readonly projects?: readonly string[] | undefined;
  /** Undefined: it does not expire. */
  readonly ttlMs: number | undefined;
}

/**
 * API tokens. Only their SHA-256 is kept, so a stolen database opens nothing. Those with the role `agent` are the farm's own
 * and those of before agents had secrets of their own: each lets agents in, any number of them.
 */
export interface Tokens {
  /** Undefined when the token is unknown, revoked or expired. */
  authenticate(token: string): Principal | undefined;
  /** What an expired token was; undefined for any other. Whoever has its secret may hear it, and nobody else does. */
  expired(token: string): ExpiredToken | undefined;
  /**
   * Resolves when it is durable. Throws `invalid_argument` for a bad name, and `already_exists` for one that is taken, or
   * where a user and a token that is nobody's would have the same name: people could not tell the two apart, and one of
   * them could vote as both.
   */
  create(token: NewToken): Promise<{ readonly secret: string; readonly info: TokenInfo }>;
  /** By name; also expired ones. */
  list(): readonly TokenInfo[];
  /** It is refused at once; resolves when that is durable. Throws `not_found`, and `failed_precondition` for a first one. */
  revoke(name: string): Promise<void>;
}

export const tokenSchema: SchemaPart = {
  name: "tokens",
  migrations: [
    `CREATE TABLE token (
     sha256 TEXT PRIMARY KEY,
     name TEXT NOT NULL,
     role TEXT NOT NULL
   ) STRICT`,
    "ALTER TABLE token ADD COLUMN created_ms INTEGER",
    "ALTER TABLE token ADD COLUMN expires_ms INTEGER",
    "ALTER TABLE token ADD COLUMN user TEXT",
    // A JSON array; null is all.
    "ALTER TABLE token ADD COLUMN projects TEXT",
  ],
};

export interface TokensOptions {
  readonly sqlite: Sqlite;
  /** Where the first tokens lie in clear, one file each, readable by the owner alone: `admin` and `agent`. */
  readonly dir: string;
  /** Of the farm's own CA, where it has one: the first tokens are written with it. */
  readonly fingerprint?: string | undefined;
  readonly clock: Clock;
}

interface Row {
  sha256: string;
  name: string;
  role: TokenRole;
  user: string | null;
  projects: string | null;
  created_ms: number | null;
  expires_ms: number | null;
}

/** Tokens that the coordinator makes for itself, named as their roles. */
const firstRoles = ["admin", "agent"] as const;

/** Opens the tokens and sees to it that the two first ones exist: without them nobody could make any others. */
export async function openTokens({ sqlite, dir, fingerprint, clock }: TokensOptions): Promise<Tokens> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  for (const role of firstRoles) {
    const token = await readOrMake(join(dir, role), fingerprint);
    await sqlite.write([
      // A file that was replaced replaces the token: the old one opens nothing any more.
      { sql: "DELETE FROM token WHERE name = ?", params: [role] },
      { sql: "INSERT INTO token (sha256, name, role) VALUES (?, ?, ?)", params: [secretHash(token), role, role] },
    ]);
  }
  const rows = await sqlite.query<Row>("SELECT sha256, name, role, user, projects, created_ms, expires_ms FROM token");
  const known = new Map(rows.map((row) => [row.sha256, infoOf(row)]));
  return {
    authenticate(token) {
      // Looked up by hash: an attacker who times the comparison learns about the hash, not about the token.
      const info = known.get(secretHash(token));
      if (info === undefined || isExpired(info, clock.nowMs())) return undefined;
      const name = info.user === undefined ? `token:${info.name}` : `user:${info.user}`;
      return { name, role: info.role === "agent" ? "enrolment" : info.role, projects: info.projects };
    },
    expired(token) {
      const info = known.get(secretHash(token));
      return info !== undefined && isExpired(info, clock.nowMs()) ? info : undefined;
    },
    async create({ role, name = `${role}-${randomBytes(3).toString("hex")}`, user, projects, ttlMs }) {
      requireName(name, known.values());
      requirePerson({ name, user }, [...known.values()]);
      const secret = newSecret();
      const createdMs = clock.nowMs();
      const expiresMs = ttlMs === undefined ? undefined : createdMs + ttlMs;
      const info: TokenInfo = { name, role, user, projects, createdMs, expiresMs };
      const hash = secretHash(secret);
      known.set(hash, info);
      const sql =
        "INSERT INTO token (sha256, name, role, user, projects, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?)";
      const bound = projects === undefined ? null : JSON.stringify(projects);
      try {
        await sqlite.write([{ sql, params: [hash, name, role, user ?? null, bound, createdMs, expiresMs ?? null] }]);
      } catch (error) {
        known.delete(hash);
        throw from(error, `storing the token ${name}`);
      }
      return { secret, info };
    },
    list: () => [...known.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
    async revoke(name) {
      const found = [...known].filter(([, info]) => info.name === name);
      if (found.length === 0)
        throw new MillraceError("not_found", `there is no token "${name}"; see \`millrace token list\``);
      if (firstRoles.some((first) => first === name)) {
        throw new MillraceError(
          "failed_precondition",
          `the token "${name}" is the coordinator's own: delete ${join(dir, name)} and restart it, and a new one takes its place`,
        );
      }
      for (const [hash] of found) known.delete(hash);
      await sqlite.write([{ sql: "DELETE FROM token WHERE name = ?", params: [name] }]);
    },
  };
}

function isExpired(info: TokenInfo, nowMs: number): info is ExpiredToken {
  return info.expiresMs !== undefined && nowMs >= info.expiresMs;
}

function requireName(name: string, known: Iterable<TokenInfo>): void {
  if (!/^[a-z0-9-]{1,64}$/.test(name)) {
    throw new MillraceError("invalid_argument", `a token's name is 1 to 64 of a-z, 0-9 and "-"; got "${name}"`);
  }
  for (const info of known) {
    if (info.name !== name) continue;
    throw new MillraceError(
      "already_exists",
      `there is a token "${name}" already: revoke it first, or choose another name`,
    );
  }
}

/** A gate names approvers by one word: a role, a user, or a token that is nobody's. No word may be two of these. */
function requirePerson({ name, user }: Pick<NewToken, "name" | "user">, known: readonly TokenInfo[]): void {
  const taken = (what: string) =>
    new MillraceError("already_exists", `${what}: people could not tell the two apart; choose another name`);
  if (user === undefined) {
    if (known.some((info) => info.user === name)) throw taken(`there is a user "${name}"`);
    return;
  }
  if (!/^[a-z0-9][a-z0-9._-]{0,62}$/.test(user)) {
    throw new MillraceError(
      "invalid_argument",
      `a user's name is 1 to 63 of a-z, 0-9, ".", "_" and "-", beginning with a letter or a digit; got "${user}"`,
    );
  }
  if (tokenRoles.some((role) => role === user))
    throw new MillraceError("invalid_argument", `"${user}" is a role, and cannot be a user`);
  if (known.some((info) => info.user === undefined && info.name === user)) {
    throw taken(`there is a token "${user}" that is nobody's`);
  }
}

function infoOf({ name, role, user, projects, created_ms, expires_ms }: Row): TokenInfo {
  return {
    ...{ name, role, user: user ?? undefined },
    projects: projects === null ? undefined : (JSON.parse(projects) as string[]),
    createdMs: created_ms ?? undefined,
    expiresMs: expires_ms ?? undefined,
  };
}

/** Gives the secret; the file says it together with the fingerprint, as people copy it. */
async function readOrMake(path: string, fingerprint: string | undefined): Promise<string> {
  const present = await readFile(path, "utf8").catch((error: unknown) => {
    const failure = from(error, "reading a token");
    if (failure.code === "not_found") return "";
    throw failure;
  });
  const [kept = ""] = present.trim().split(".", 1);
  const secret = kept === "" ? newSecret() : kept;
  const text = `${formatToken({ secret, fingerprint })}\n`;
  if (text !== present) writePrivateFile(path, text, { durable: true });
  return secret;
}
