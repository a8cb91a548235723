// The thread that owns one database. Started by open.ts, never imported.
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import type Database from "better-sqlite3";
import { limits } from "../limits.ts";
import { openDatabase } from "./database.ts";
import { failureOf } from "./failure.ts";
import { groupCommit } from "./group-commit.ts";
import type { FromWorker, SqlAnswer, SqlRequest, ToWorker, WorkerOptions } from "./messages.ts";

function serve(port: MessagePort, options: WorkerOptions): void {
  const post = (message: FromWorker) => port.postMessage(message);
  let db: Database.Database;
  try {
    db = openDatabase(options);
  } catch (error) {
    post({ kind: "refused", failure: failureOf(error, options.path) });
    port.close();
    return;
  }
  const run = groupCommit(db, options.path);

  /** Whatever waits in the port joins the group: the busier the database, the more writes share one fsync. */
  function serveAll(first: ToWorker): void {
    let waiting: SqlRequest[] = [];
    let closing = false;
    for (let message: ToWorker | undefined = first; message !== undefined; message = next()) {
      if (message.kind === "close") closing = true;
      else if (message.kind === "snapshot") {
        if (waiting.length > 0) answer(waiting.splice(0));
        post({ kind: "answers", answers: [snapshot(message)] });
      } else waiting = waiting.concat(message.requests);
      while (waiting.length >= limits.groupCommitWrites) answer(waiting.splice(0, limits.groupCommitWrites));
    }
    if (waiting.length > 0) answer(waiting);
    if (closing) {
      db.close();
      port.close();
    }
  }

  function snapshot({ id, to }: ToWorker & { kind: "snapshot" }): SqlAnswer {
    try {
      db.prepare("VACUUM INTO ?").run(to);
      return { id, value: undefined };
    } catch (error) {
      return { id, failure: failureOf(error, options.path, `VACUUM INTO ${to}`) };
    }
  }

  function next(): ToWorker | undefined {
    const received: { message: ToWorker } | undefined = receiveMessageOnPort(port);
    return received?.message;
  }

  function answer(requests: SqlRequest[]): void {
    post({ kind: "answers", answers: run(requests) });
  }

  port.on("message", serveAll);
  post({ kind: "opened" });
}

if (parentPort === null) throw new Error("worker.ts runs in a worker thread only: use openSqlite");
serve(parentPort, workerData as WorkerOptions); // what open.ts started it with
