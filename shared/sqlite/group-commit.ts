import type Database from "better-sqlite3";
import { limits } from "../limits.ts";
import { failureOf, SqlError } from "./failure.ts";
import type { SqlAnswer, SqlRequest } from "./messages.ts";

/** Would commit or drop the group's transaction under the feet of the other writes in it. */
const endsTransaction = /^\s*(BEGIN|COMMIT|END|ROLLBACK|SAVEPOINT|RELEASE)\b/i;

/**
 * Runs requests in order inside one transaction, so that many writes cost one fsync. A savepoint around each write
 * keeps a failing one from taking others with it. Answers count once the function returns: a query, too, may have seen
 * what is durable only after the commit.
 */
export function groupCommit(db: Database.Database, path: string): (requests: readonly SqlRequest[]) => SqlAnswer[] {
  const begin = db.prepare("BEGIN IMMEDIATE");
  const commit = db.prepare("COMMIT");
  const rollback = db.prepare("ROLLBACK");
  const savepoint = db.prepare("SAVEPOINT one_write");
  const release = db.prepare("RELEASE one_write");
  const undo = db.prepare("ROLLBACK TO one_write");
  const prepared = statementCache(db);

  function write(request: SqlRequest & { kind: "write" }): SqlAnswer {
    let sql: string | undefined;
    savepoint.run();
    try {
      const changes: number[] = [];
      for (const statement of request.statements) {
        sql = statement.sql;
        if (endsTransaction.test(sql)) throw new SqlError("invalid_argument", "a write is a transaction already");
        changes.push(prepared(sql).run(...(statement.params ?? [])).changes);
      }
      release.run();
      return { id: request.id, value: changes };
    } catch (error) {
      if (!db.inTransaction) throw error; // a full disk or an I/O error: SQLite gave up the whole transaction
      undo.run();
      release.run();
      return { id: request.id, failure: failureOf(error, path, sql) };
    }
  }

  function query(request: SqlRequest & { kind: "query" }): SqlAnswer {
    try {
      const statement = prepared(request.sql);
      if (!statement.readonly) throw new SqlError("invalid_argument", "a query may not write");
      return { id: request.id, value: statement.all(...request.params) };
    } catch (error) {
      return { id: request.id, failure: failureOf(error, path, request.sql) };
    }
  }

  function failAll(requests: readonly SqlRequest[], error: unknown): SqlAnswer[] {
    const failure = failureOf(error, path);
    return requests.map(({ id }) => ({ id, failure }));
  }

  function run(requests: readonly SqlRequest[]): SqlAnswer[] {
    if (requests.some(({ kind }) => kind === "write")) {
      try {
        begin.run();
      } catch (error) {
        return failAll(requests, error);
      }
    }
    try {
      const answers = requests.map((request) => (request.kind === "write" ? write(request) : query(request)));
      if (db.inTransaction) commit.run();
      return answers;
    } catch (error) {
      // Nothing of the group is in the database. Alone, each learns whether it was the cause.
      if (db.inTransaction) rollback.run();
      return requests.length === 1 ? failAll(requests, error) : requests.flatMap((request) => run([request]));
    }
  }

  return run;
}

/** Compiled statements by text; the least recently used goes first. */
function statementCache(db: Database.Database): (sql: string) => Database.Statement<unknown[]> {
  const statements = new Map<string, Database.Statement<unknown[]>>();
  return (sql) => {
    const statement = statements.get(sql) ?? db.prepare<unknown[]>(sql);
    statements.delete(sql);
    statements.set(sql, statement);
    if (statements.size > limits.sqliteStatements) {
      const [oldest] = statements.keys();
      if (oldest !== undefined) statements.delete(oldest);
    }
    return statement;
  };
}
