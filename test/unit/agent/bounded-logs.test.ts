import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Stopped } from "../../../agent/executor/executor.ts";
import { boundedLogs, type SpoolBounds, tooMuch, type Waiting } from "../../../agent/logs/bounded-logs.ts";
import { patience } from "../../../agent/retry.ts";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { fakeClock } from "../../support/fake-clock.ts";

const bounds: SpoolBounds = { cutOffMs: 5_000, spoolBytes: 1_000, awayMs: 60_000 };

describe("output that waits", () => {
  const names = ["a", "b", "c", "d"];
  const waiting = fc.record({ waitingBytes: fc.nat(1_500), stuckMs: fc.nat(90_000) });

  test("ends one task at a time for its size, all that are late for theirs, and none that is only slow", () => {
    fc.assert(
      fc.property(fc.array(waiting, { maxLength: names.length }), (all) => {
        const map = new Map(all.map((one, index) => [names[index] ?? "", one]));
        const ended = [...tooMuch(map, bounds).keys()].map((name) => map.get(name) as Waiting);
        const stuck = all.filter(({ waitingBytes, stuckMs }) => waitingBytes > 0 && stuckMs >= bounds.cutOffMs);
        const late = stuck.filter(({ stuckMs }) => stuckMs >= bounds.awayMs);
        if (late.length > 0) expect(ended).toEqual(late);
        else if (stuck.reduce((sum, { waitingBytes }) => sum + waitingBytes, 0) <= bounds.spoolBytes)
          expect(ended).toEqual([]);
        else
          expect(ended.map(({ waitingBytes }) => waitingBytes)).toEqual([
            Math.max(...stuck.map((one) => one.waitingBytes)),
          ]);
      }),
    );
  });

  function setup() {
    const clock = fakeClock();
    const at = { sizeBytes: 0, storedBytes: 0 };
    const base = { progress: async () => at, seal: async () => {}, finish: async () => at.sizeBytes };
    const logs = boundedLogs(
      { open: async () => base },
      { clock, bounds, onError: (error) => expect.unreachable(error.message) },
    );
    /** A second at a time, each with its look. */
    const pass = async (ms: number) => {
      for (let passed = 0; passed < ms; passed += limits.spoolCheckMs) {
        clock.advance(limits.spoolCheckMs);
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    return { at, logs, pass };
  }
  const key = { executionId: "exe_1", attempt: 1 };

  test("stops its task with the cause once nothing was taken for a while", async () => {
    const { at, logs, pass } = setup();
    const log = await logs.open(key, "spool");
    at.sizeBytes = 5_000;
    for (at.storedBytes = 1; at.storedBytes < 20; at.storedBytes += 1) await pass(1_000);
    expect(log.overfull.aborted).toBe(false);
    await pass(6_000);
    expect(log.overfull.reason).toBeInstanceOf(Stopped);
    expect(log.overfull.reason).toMatchObject({ kind: EndingKind.INFRASTRUCTURE });
    expect(log.overfull.reason.message).toMatch(
      /^the coordinator has taken none of its output for [56] s, and 4.9 KiB of this agent's wait, where 1000 B may/,
    );
  });

  test("of a task that has ended waits as long as it takes", async () => {
    const { at, logs, pass } = setup();
    const log = await logs.open(key, "spool");
    at.sizeBytes = 5_000;
    await log.seal();
    await pass(bounds.awayMs * 2);
    expect(log.overfull.aborted).toBe(false);
    expect(await log.finish()).toBe(5_000);
  });

  test("within the bound waits until the farm was away for too long", async () => {
    const { at, logs, pass } = setup();
    const log = await logs.open(key, "spool");
    at.sizeBytes = 900;
    await pass(bounds.awayMs - 5_000);
    expect(log.overfull.aborted).toBe(false);
    await pass(10_000);
    expect(log.overfull.reason.message).toContain("it may not wait for longer");
  });
});

test("a call to a farm that stays away is given up with what it was for and how long it was tried", async () => {
  let nowMs = 0;
  const clock: Clock = {
    ...fakeClock(),
    monotonicMs: () => nowMs,
    after(delayMs, call) {
      nowMs += delayMs + 100;
      setImmediate(call);
      return () => {};
    },
  };
  const patiently = patience(clock, () => {}, 10_000);
  const call = async () => {
    throw new MillraceError("unavailable", "nobody there");
  };
  const given = patiently(new AbortController().signal, "uploading outputs", call);
  await expect(given).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringMatching(/^uploading outputs, for 1\d s without success: .*nobody there/),
  });
});
