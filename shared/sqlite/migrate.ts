import { hash } from "node:crypto";
import type Database from "better-sqlite3";
import { SqlError } from "./failure.ts";
import type { SchemaPart } from "./sqlite.ts";

/**
 * Brings every part up to date, all in one transaction and in the order given. Each migration's checksum is kept: one
 * that was edited after it ran would leave databases that differ by age, so it is refused.
 * @throws SqlError failed_precondition when a past migration was edited or the database is newer than the program.
 */
export function migrate(db: Database.Database, schema: readonly SchemaPart[]): void {
  db.transaction(() => {
    db.exec(`CREATE TABLE IF NOT EXISTS schema_migration (
      part TEXT NOT NULL, version INTEGER NOT NULL, checksum TEXT NOT NULL, PRIMARY KEY (part, version)) STRICT`);
    const rows = db
      .prepare<[], { part: string; version: number; checksum: string }>("SELECT * FROM schema_migration")
      .all();
    const applied = new Map(rows.map(({ part, version, checksum }) => [`${part} ${version}`, checksum]));
    const record = db.prepare<[string, number, string]>(
      "INSERT INTO schema_migration (part, version, checksum) VALUES (?, ?, ?)",
    );
    for (const { name, migrations } of schema) {
      for (const [index, sql] of migrations.entries()) {
        const version = index + 1;
        const checksum = hash("sha256", sql);
        const before = applied.get(`${name} ${version}`);
        applied.delete(`${name} ${version}`);
        if (before === undefined) {
          db.exec(sql);
          record.run(name, version, checksum);
        } else if (before !== checksum) throw edited(name, version);
      }
    }
    for (const left of applied.keys()) throw tooNew(left);
  }).immediate();
}

function edited(part: string, version: number): SqlError {
  return new SqlError(
    "failed_precondition",
    `migration ${version} of ${part} is not the one that was applied to it: put the old text back and add a new migration for the change`,
  );
}

function tooNew(migration: string): SqlError {
  return new SqlError(
    "failed_precondition",
    `its schema has migration ${migration}, which this program does not know: run the newer program, or restore a backup from before the upgrade`,
  );
}
