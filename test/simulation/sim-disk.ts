import { MillraceError } from "../../shared/errors.ts";
import { openDatabase } from "../../shared/sqlite/database.ts";
import { groupCommit } from "../../shared/sqlite/group-commit.ts";
import type { SqlRequest } from "../../shared/sqlite/messages.ts";
import type { SchemaPart, Sqlite, SqlValue } from "../../shared/sqlite/sqlite.ts";
import type { Chance } from "./chance.ts";
import type { SimProcess } from "./sim-process.ts";

/** A database that outlives the processes that use it. */
export interface SimDisk {
  /** As this process sees it. What it asked for and was not carried out when it is killed never is. */
  open(process: SimProcess): Sqlite;
  /** What is on it, for whoever judges the end. */
  peek<Row>(sql: string): Row[];
  close(): void;
}

export interface SimDiskOptions {
  readonly schema: readonly SchemaPart[];
  readonly chance: Chance;
  /** How likely a write finds the disk full. */
  readonly full: () => number;
}

/** SQLite itself, in memory and without its thread, so that a world has one order of events. */
export function simDisk({ schema, chance, full }: SimDiskOptions): SimDisk {
  const database = openDatabase({ path: ":memory:", schema, readOnly: false });
  const run = groupCommit(database, "simulated");
  const peeks = new Map<string, () => unknown[]>();
  return {
    open(process) {
      let id = 0;
      let busyUntilMs = 0;
      let answeredMs = 0;
      /** Carried out in the order of asking; the answer comes a little later, and a kill may come between. */
      function ask(request: SqlRequest): Promise<unknown> {
        const { promise, resolve, reject } = Promise.withResolvers<unknown>();
        const { clock } = process;
        busyUntilMs = Math.max(busyUntilMs, clock.monotonicMs() + chance.next() * 2);
        const isFull = request.kind === "write" && chance.one(full());
        clock.after(busyUntilMs - clock.monotonicMs(), () => {
          const [answer] = isFull ? [] : run([request]);
          answeredMs = Math.max(answeredMs, clock.monotonicMs() + chance.next());
          clock.after(answeredMs - clock.monotonicMs(), () => {
            if (answer === undefined) reject(new MillraceError("resource_exhausted", "the simulated disk is full"));
            else if ("failure" in answer) reject(new MillraceError(answer.failure.code, answer.failure.message));
            else resolve(answer.value);
          });
        });
        return promise;
      }
      return {
        write: async (statements) => (await ask({ id: ++id, kind: "write", statements })) as number[],
        query: async <Row>(sql: string, params: readonly SqlValue[] = []) =>
          (await ask({ id: ++id, kind: "query", sql, params })) as Row[],
        snapshot: () => Promise.reject(new MillraceError("unimplemented", "nothing is backed up in a simulation")),
        close: async () => undefined,
      };
    },
    peek<Row>(sql: string) {
      let peek = peeks.get(sql);
      if (peek === undefined) {
        const statement = database.prepare(sql);
        peek = () => statement.all();
        peeks.set(sql, peek);
      }
      return peek() as Row[];
    },
    close: () => void database.close(),
  };
}
