import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { from } from "../../../shared/errors.ts";
import type { SchemaPart, Sqlite } from "../../../shared/sqlite/sqlite.ts";
import type { Principal, Role } from "./principal.ts";

/** API tokens. Only their SHA-256 is kept, so a stolen database opens nothing. */
export interface Tokens {
  /** Undefined when the token is unknown. */
  authenticate(token: string): Principal | undefined;
}

export const tokenSchema: SchemaPart = {
  name: "tokens",
  migrations: [
    `CREATE TABLE token (
     sha256 TEXT PRIMARY KEY,
     name TEXT NOT NULL,
     role TEXT NOT NULL
   ) STRICT`,
  ],
};

export interface TokensOptions {
  readonly sqlite: Sqlite;
  /** Where the first tokens lie in clear, one file each, readable by the owner alone: `admin` and `agent`. */
  readonly dir: string;
}

/** Opens the tokens and sees to it that the two first ones exist: without them nobody could make any others. */
export async function openTokens({ sqlite, dir }: TokensOptions): Promise<Tokens> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  for (const role of ["admin", "agent"] as const) {
    const token = await readOrMake(join(dir, role));
    await sqlite.write([
      // A file that was replaced replaces the token: the old one opens nothing any more.
      { sql: "DELETE FROM token WHERE name = ?", params: [role] },
      { sql: "INSERT INTO token (sha256, name, role) VALUES (?, ?, ?)", params: [sha256(token), role, role] },
    ]);
  }
  const rows = await sqlite.query<{ sha256: string; name: string; role: Role }>("SELECT sha256, name, role FROM token");
  const principals = new Map(rows.map((row) => [row.sha256, { name: `token:${row.name}`, role: row.role }]));
  // Looked up by hash: an attacker who times the comparison learns about the hash, not about the token.
  return { authenticate: (token) => principals.get(sha256(token)) };
}

async function readOrMake(path: string): Promise<string> {
  const present = await readFile(path, "utf8").catch((error: unknown) => {
    const failure = from(error, "reading a token");
    if (failure.code === "not_found") return undefined;
    throw failure;
  });
  if (present !== undefined && present.trim() !== "") return present.trim();
  const token = `mr_${randomBytes(24).toString("base64url")}`;
  await writeFile(path, `${token}\n`, { mode: 0o600 });
  return token;
}

function sha256(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}
