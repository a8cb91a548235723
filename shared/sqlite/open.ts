import { Worker } from "node:worker_threads";
import { from, MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import { ownEntry } from "../own-files.ts";
import { assetNames, isSingleFile, textAsset } from "../single-file.ts";
import type { FromWorker, SqlAnswer, SqlRequest, ToWorker, WorkerOptions } from "./messages.ts";
import type { SchemaPart, Sqlite, SqlValue, Statement } from "./sqlite.ts";

export interface OpenSqliteOptions {
  /** The database file; made when it is not there. Its folder must exist. */
  readonly path: string;
  /** The modules that keep tables here. */
  readonly schema: readonly SchemaPart[];
  /** The file must be there, nothing can be written and no migration is applied; `schema` does not count. Default false. */
  readonly readOnly?: boolean;
  /** Private to us, for the native addon of the one executable, where the file lies in a folder of others. Default that folder. */
  readonly addonDir?: string;
  /** Told once when the thread dies; every call fails with `internal` from then on. */
  readonly onError?: (error: MillraceError) => void;
}

type Ask = { kind: "write"; statements: Statement[] } | { kind: "query"; sql: string; params: SqlValue[] };

interface Waiting {
  resolve(value: unknown): void;
  reject(error: MillraceError): void;
}

/**
 * Opens a database in a thread of its own.
 * @throws MillraceError `data_loss` when the file is damaged, `failed_precondition` when its schema does not fit the
 * migrations, `not_found` when its folder is not there.
 */
export async function openSqlite(options: OpenSqliteOptions): Promise<Sqlite> {
  const { path, schema, readOnly = false, addonDir, onError } = options;
  const worker = startWorker({ path, schema, readOnly, addonDir });
  const exited = new Promise((resolve) => worker.once("exit", resolve)); // comes after 'error', too
  const opened = Promise.withResolvers<void>();
  const waiting = new Map<number, Waiting>();
  let lastId = 0;
  let outbox: SqlRequest[] = [];
  let closing: Promise<void> | undefined;
  let dead: MillraceError | undefined;

  const post = (message: ToWorker) => worker.postMessage(message);

  function flush(): void {
    if (outbox.length === 0 || dead !== undefined) return;
    post({ kind: "requests", requests: outbox });
    outbox = [];
  }

  function die(cause: unknown): void {
    if (dead !== undefined) return;
    dead = new MillraceError("internal", `database ${path}: its thread died; restart the program`, { cause });
    opened.reject(dead);
    for (const call of waiting.values()) call.reject(dead);
    waiting.clear();
    onError?.(dead);
  }

  worker.on("message", (message: FromWorker) => {
    if (message.kind === "opened") opened.resolve();
    else if (message.kind === "refused") {
      closing = Promise.resolve(); // its end, which may come in the same turn, is no death
      opened.reject(new MillraceError(message.failure.code, message.failure.message));
    } else for (const answer of message.answers) settle(answer);
  });

  function settle(answer: SqlAnswer): void {
    const call = waiting.get(answer.id);
    waiting.delete(answer.id);
    if ("failure" in answer) call?.reject(new MillraceError(answer.failure.code, answer.failure.message));
    else call?.resolve(answer.value);
  }

  /** A promise of the answer to a new request. */
  function call<Value>(send: (id: number) => void): Promise<Value> {
    if (dead !== undefined) return Promise.reject(dead);
    if (closing !== undefined) {
      return Promise.reject(new MillraceError("unavailable", `database ${path}: it is closed`));
    }
    if (waiting.size >= limits.sqliteBacklog) {
      const message = `database ${path}: ${waiting.size} calls wait already; slow down`;
      return Promise.reject(new MillraceError("resource_exhausted", message));
    }
    lastId += 1;
    send(lastId);
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    waiting.set(lastId, { resolve, reject });
    return promise as Promise<Value>; // the thread answers a write with counts and a query with rows
  }

  function ask<Value>(request: Ask): Promise<Value> {
    return call((id) => {
      outbox.push({ id, ...request });
      if (outbox.length === 1) queueMicrotask(flush);
    });
  }

  worker.on("error", die);
  worker.on("messageerror", die);
  worker.on("exit", (code) => {
    if (closing === undefined) die(new Error(`exit code ${code}`));
  });

  try {
    await opened.promise;
  } catch (error) {
    closing = Promise.resolve();
    await exited;
    throw from(error);
  }
  return {
    async write(statements) {
      return ask({ kind: "write", statements: statements.map(sendable) });
    },
    async query(sql, params = []) {
      return ask({ kind: "query", sql, params: params.map(sendableValue) });
    },
    async snapshot(to) {
      flush(); // what was asked before goes first
      await call((id) => post({ kind: "snapshot", id, to }));
    },
    close() {
      closing ??= (async () => {
        flush();
        if (dead === undefined) post({ kind: "close" });
        await exited;
        if (waiting.size > 0) die(new Error("exit while closing"));
      })();
      return closing;
    },
  };
}

function startWorker(workerData: WorkerOptions): Worker {
  const name = "sqlite";
  if (isSingleFile()) return new Worker(textAsset(assetNames.sqliteWorker), { eval: true, workerData, name });
  return new Worker(ownEntry("sqliteWorker"), { workerData, name });
}

function sendable({ sql, params = [] }: Statement): Statement {
  return { sql, params: params.map(sendableValue) };
}

/**
 * A value that can travel. Cloning a view clones all of the memory below it, which for bytes cut from a network frame
 * is the whole frame: such a view is copied first.
 */
function sendableValue(value: SqlValue): SqlValue {
  if (value instanceof Uint8Array) {
    return value.byteLength === value.buffer.byteLength ? value : new Uint8Array(value);
  }
  if (value === null || typeof value === "string" || typeof value === "bigint") return value;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new MillraceError("invalid_argument", `not a value for SQLite: ${String(value)} (${typeof value})`);
}
