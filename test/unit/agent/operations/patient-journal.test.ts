import { expect, test } from "vitest";
import { firstState } from "../../../../agent/operations/deploy-state.ts";
import type { Journal } from "../../../../agent/operations/journal.ts";
import { patientJournal } from "../../../../agent/operations/patient-journal.ts";
import { MillraceError } from "../../../../shared/errors.ts";
import { fakeClock } from "../../../support/fake-clock.ts";

const entry = { state: firstState, movedBytes: 0, probeAnswer: "" };

function failing(codes: MillraceError["code"][]) {
  const journal: Pick<Journal, "save"> = {
    async save() {
      const code = codes.shift();
      if (code !== undefined) throw new MillraceError(code, "no");
    },
  };
  const clock = fakeClock();
  const waits: string[] = [];
  const onWait = (error: MillraceError) => {
    waits.push(error.code);
    // The pause begins in this turn of the loop and is over in the next.
    setImmediate(() => clock.advance(60_000));
  };
  const signal = new AbortController().signal;
  return { subject: patientJournal(journal as Journal, { clock, signal, onWait }), waits };
}

test("a step waits for room on the disk instead of giving the host up half done", async () => {
  const { subject, waits } = failing(["resource_exhausted", "resource_exhausted"]);
  await subject.save("exe", entry);
  expect(waits).toEqual(["resource_exhausted", "resource_exhausted"]);
});

test("what waiting does not cure is thrown at once", async () => {
  const { subject, waits } = failing(["data_loss"]);
  await expect(subject.save("exe", entry)).rejects.toMatchObject({ code: "data_loss" });
  expect(waits).toEqual([]);
});
