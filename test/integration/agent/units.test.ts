import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openUnits, unitSchema } from "../../../agent/units/units.ts";
import { type Clock, systemClock } from "../../../shared/clock.ts";
import { openSqlite } from "../../../shared/sqlite/open.ts";
import { tempDir } from "../../support/temp-dir.ts";

/** Units of a folder of their own, and how many timers they have set. */
async function setup() {
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
  const spec = { arguments: ["/bin/sleep", "60"], environment: {}, folder };
  return { units, spec, timers: () => timers };
}

test("no timer of its units wakes an agent that has none", async () => {
  const { units, spec, timers } = await setup();
  expect(timers()).toBe(0);
  await units.start("served", spec);
  expect(timers()).toBeGreaterThan(0);
});

test("a start that meets the end of the agent leaves no timer behind", async () => {
  const { units, spec, timers } = await setup();
  const started = units.start("served", spec);
  await units.close(true);
  await started;
  expect(timers()).toBe(0);
});
