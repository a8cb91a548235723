// A process that appends to many streams at once and says so, until it is killed: `event-writer.ts <database>`.

import { writeSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import { emptyStream } from "../../../../coordinator/store/event-store.ts";
import { eventStoreSchema, sqliteEventStore } from "../../../../coordinator/store/sqlite-event-store.ts";
import { CommitSchema } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { openSqlite } from "../../../../shared/sqlite/open.ts";

const [path = ""] = process.argv.slice(2);
const store = sqliteEventStore({ sqlite: await openSqlite({ path, schema: [eventStoreSchema] }) });

async function write(stream: string): Promise<void> {
  let token = emptyStream;
  for (;;) {
    token = await store.append(
      stream,
      token,
      create(CommitSchema, { events: [{ principal: "a" }, { principal: "b" }] }),
    );
    writeSync(1, `${stream} ${token}\n`); // at once: what a pipe still held in this process would die with it
  }
}

await Promise.all(Array.from({ length: 20 }, (_, n) => write(`run-${n}`)));
