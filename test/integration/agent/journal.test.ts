import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { expect, onTestFinished, test } from "vitest";
import { hostOperationSchema, sqliteJournal } from "../../../agent/operations/journal.ts";
import { AssignSchema } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { openSqlite } from "../../../shared/sqlite/open.ts";
import { tempDir } from "../../support/temp-dir.ts";

const target = { environment: "prod", app: "shop" };

function assign(executionId: string, number: bigint) {
  return create(AssignSchema, { executionId, epoch: { term: 1n, number }, attempt: Number(number) });
}

async function journal() {
  const database = await openSqlite({ path: join(tempDir(), "agent.db"), schema: [hostOperationSchema] });
  onTestFinished(() => database.close());
  return sqliteJournal(database);
}

test("an operation that was taken over is resumed under the epoch that it goes on under", async () => {
  const subject = await journal();
  await subject.begin(assign("deploy", 1n), target);
  await subject.takeOver(assign("deploy", 3n), target);
  expect(await subject.unreported()).toMatchObject([{ epoch: { term: 1n, number: 3n }, attempt: 3 }]);
});

test("an epoch that took an operation over fences what comes late", async () => {
  const subject = await journal();
  await subject.begin(assign("deploy", 1n), target);
  await subject.takeOver(assign("deploy", 3n), target);
  await expect(subject.begin(assign("late", 2n), target)).rejects.toMatchObject({ code: "failed_precondition" });
});

test("to take over what has just been reported does not bring it back", async () => {
  const subject = await journal();
  await subject.begin(assign("deploy", 1n), target);
  await subject.reported("deploy");
  await subject.takeOver(assign("deploy", 3n), target);
  expect(await subject.unreported()).toEqual([]);
});
