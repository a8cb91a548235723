import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openUnits, unitSchema } from "../../../agent/units/units.ts";
import { type Clock, systemClock } from "../../../shared/clock.ts";
import { openSqlite } from "../../../shared/sqlite/open.ts";
import { tempDir } from "../../support/temp-dir.ts";

test("no timer of its units wakes an agent that has none", async () => {
  const folder = tempDir();
  const database = await openSqlite({ path: join(folder, "agent.sqlite"), schema: [unitSchema] });
  onTestFinished(() => database.close());
  let timers = 0;
  const clock: Clock = {
    ...systemClock,
    after(...call) {
      timers += 1;
      return systemClock.after(...call);
    },
  };
  const onError = (error: Error) => expect.unreachable(error.message);
  const units = await openUnits({ database, folder: join(folder, "units"), clock, onError });
  onTestFinished(() => units.close(true));
  expect(timers).toBe(0);
  await units.start("served", { arguments: ["/bin/sleep", "60"], environment: {}, folder });
  expect(timers).toBeGreaterThan(0);
});
