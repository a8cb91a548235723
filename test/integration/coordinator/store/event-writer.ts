// A process that appends to many streams at once and says so, until it is killed: `event-writer.ts <database>`.

import { create } from "@bufbuild/protobuf";
import { emptyStream } from "../../../../coordinator/store/event-store.ts";
import { eventStoreSchema, sqliteEventStore } from "../../../../coordinator/store/sqlite-event-store.ts";
import { CommitSchema } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { openSqlite } from "../../../../shared/sqlite/open.ts";
import { say } from "../../../support/say.ts";

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
    say(`${stream} ${token}`);
  }
}

await Promise.all(Array.from({ length: 20 }, (_, n) => write(`run-${n}`)));
