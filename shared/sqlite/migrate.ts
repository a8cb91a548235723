import { hash } from "node:crypto";
import type Database from "better-sqlite3";
import { SqlError } from "./failure.ts";

/**
 * Brings the schema up to date, all in one transaction. `user_version` counts the migrations applied, and each one's
 * checksum is kept: a migration that was edited after it ran would leave databases that differ by age, so it is refused.
 * @throws SqlError failed_precondition when a past migration was edited or the database is newer than the program.
 */
export function migrate(db: Database.Database, migrations: readonly string[]): void {
  db.transaction(() => {
    const applied = Number(db.pragma("user_version", { simple: true }));
    if (applied > migrations.length) {
      throw new SqlError(
        "failed_precondition",
        `its schema has version ${applied} and this program knows up to ${migrations.length}: run the newer program, or restore a backup from before the upgrade`,
      );
    }
    db.exec(
      "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, checksum TEXT NOT NULL) STRICT",
    );
    const recorded = db.prepare<[number], { checksum: string }>(
      "SELECT checksum FROM schema_migrations WHERE version = ?",
    );
    const record = db.prepare<[number, string]>("INSERT INTO schema_migrations (version, checksum) VALUES (?, ?)");
    for (const [index, sql] of migrations.entries()) {
      const version = index + 1;
      const checksum = hash("sha256", sql);
      if (version > applied) {
        db.exec(sql);
        record.run(version, checksum);
      } else if (recorded.get(version)?.checksum !== checksum) {
        throw new SqlError(
          "failed_precondition",
          `migration ${version} is not the one that was applied to it: put the old text back and add a new migration for the change`,
        );
      }
    }
    db.pragma(`user_version = ${migrations.length}`);
  }).immediate();
}
