import fc from "fast-check";
import { expect, test } from "vitest";
import { diskWatch } from "../../../agent/executor/disk-watch.ts";
import { diskWatchingExecutor } from "../../../agent/executor/disk-watching-executor.ts";
import { type Conclusion, conclusion, interrupted, Refused, Stopped } from "../../../agent/executor/executor.ts";
import { EndingKind, FailureScope } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../shared/limits.ts";
import { fakeClock } from "../../support/fake-clock.ts";

const forever = new AbortController().signal;

/** A task on a disk whose free bytes the test sets; it ends when it is told, or stopped. */
function setup() {
  const clock = fakeClock();
  const state = { freeBytes: limits.diskFullBytes, looks: 0 };
  const ended = Promise.withResolvers<Conclusion>();
  const executor = diskWatchingExecutor<undefined>(
    {
      execute(_task, stop) {
        stop.addEventListener("abort", () => {
          ended.resolve(conclusion({ kind: stop.reason instanceof Stopped ? stop.reason.kind : EndingKind.CANCELLED }));
        });
        return ended.promise;
      },
    },
    {
      own: { owner: "agent-1 on here", folder: "/data" },
      space(folder) {
        state.looks += 1;
        return { folder, sizeBytes: 2 ** 30, freeBytes: state.freeBytes };
      },
      clock,
    },
  );
  return { clock, state, executor, end: (...how: Parameters<typeof conclusion>) => ended.resolve(conclusion(...how)) };
}

test("a task that fails is the farm's failure exactly when the disk was found full while it ran", async () => {
  const frees = fc.array(fc.integer({ min: 0, max: 2 * limits.diskFullBytes }), { maxLength: 8 });
  const exits = fc.integer({ min: 0, max: 3 });
  await fc.assert(
    fc.asyncProperty(frees, exits, async (free, exitCode) => {
      const { clock, state, executor, end } = setup();
      const done = executor.execute(undefined, forever);
      for (const freeBytes of free) {
        state.freeBytes = freeBytes;
        clock.advance(limits.diskCheckMs);
      }
      end({ kind: EndingKind.EXITED, exitCode });
      const wasFull = free.some((freeBytes) => freeBytes < limits.diskFullBytes);
      const { ending } = await done;
      expect(ending.kind).toBe(exitCode !== 0 && wasFull ? EndingKind.INFRASTRUCTURE : EndingKind.EXITED);
    }),
  );
});

test("it says whose disk, how full, what the process did, and that another agent may do better", async () => {
  const { state, executor, end } = setup();
  const done = executor.execute(undefined, forever);
  state.freeBytes = 0;
  end({ kind: EndingKind.EXITED, exitCode: 1 });
  expect((await done).ending).toMatchObject({
    scope: FailureScope.AGENT,
    detail:
      "it exited with 1: the disk of agent-1 on here is full: /data has 0 B of 1.0 GiB free; " +
      "free some space there or enlarge it, then run again",
  });
});

const mebibyte = 2 ** 20;
test.for([
  { what: "half of it in each look", leastBytes: 40 * mebibyte, kind: EndingKind.INFRASTRUCTURE },
  { what: "a quarter of it in each look", leastBytes: 60 * mebibyte, kind: EndingKind.EXITED },
])("a disk that was being filled, $what, and then has room again", async ({ leastBytes, kind }) => {
  const { clock, state, executor, end } = setup();
  state.freeBytes = 80 * mebibyte;
  const done = executor.execute(undefined, forever);
  clock.advance(limits.diskCheckMsMin);
  state.freeBytes = leastBytes;
  clock.advance(limits.diskCheckMsMin);
  state.freeBytes = 80 * mebibyte;
  clock.advance(limits.diskCheckMsMin);
  end({ kind: EndingKind.EXITED, exitCode: 1 });
  expect((await done).ending.kind).toBe(kind);
});

test("what was before somebody began to watch is not told to them", () => {
  const clock = fakeClock();
  let freeBytes = 80 * mebibyte;
  const watch = diskWatch({ clock, space: () => ({ folder: "/data", sizeBytes: 2 ** 30, freeBytes }) });
  const fullest: Record<string, number | undefined> = {};
  const begin = (who: string) =>
    watch.begin(({ full }) => {
      fullest[who] = full?.freeBytes;
    });
  const first = begin("first");
  first.look();
  freeBytes = 20 * mebibyte;
  clock.advance(limits.diskCheckMsMin);
  clock.advance(limits.diskCheckMsMin - 1); // it is filled, and freed again
  freeBytes = 80 * mebibyte;
  begin("second").look();
  expect(fullest).toEqual({ first: 20 * mebibyte, second: undefined });
});

test("the less room there is, the more often it looks, once for all tasks, and never while none runs", async () => {
  const { clock, state, executor, end } = setup();
  const looksIn = (ms: number, freeBytes: number) => {
    state.freeBytes = freeBytes;
    clock.advance(limits.diskCheckMs); // one more, after the pause before
    const before = state.looks;
    clock.advance(ms);
    return state.looks - before;
  };
  const both = [executor.execute(undefined, forever), executor.execute(undefined, forever)];
  expect(looksIn(5_000, 2 ** 40)).toBe(5_000 / limits.diskCheckMs);
  expect(looksIn(5_000, limits.diskFillBytesPerSecond / 10)).toBe(50);
  expect(looksIn(5_000, 2 * mebibyte)).toBe(5_000 / limits.diskCheckMsMin);
  end({ kind: EndingKind.EXITED });
  await Promise.all(both);
  expect(looksIn(5_000, 2 ** 40)).toBe(0);
});

test("a task that goes on although the disk stays full is ended", async () => {
  const { clock, state, executor } = setup();
  const done = executor.execute(undefined, forever);
  state.freeBytes = 0;
  clock.advance(limits.diskFullMs);
  state.freeBytes = limits.diskFullBytes; // for a moment
  clock.advance(limits.diskCheckMs);
  state.freeBytes = 0;
  clock.advance(limits.diskFullMs + limits.diskCheckMs);
  expect((await done).ending).toMatchObject({ kind: EndingKind.INFRASTRUCTURE, scope: FailureScope.AGENT });
});

test("what somebody cancelled stays cancelled, however full the disk", async () => {
  const { state, executor } = setup();
  const stop = new AbortController();
  const done = executor.execute(undefined, stop.signal);
  state.freeBytes = 0;
  stop.abort(new Stopped(EndingKind.CANCELLED, "enough", 0));
  expect((await done).ending.kind).toBe(EndingKind.CANCELLED);
});

test("an interruption is told apart: a refusal, a full disk of the agent, anything else", () => {
  const own = { owner: "agent-1", folder: "/" };
  const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  expect(interrupted(new Refused("too long"), forever, own).ending).toMatchObject({
    kind: EndingKind.REFUSED,
    detail: "too long",
  });
  expect(interrupted(new Error("laying out", { cause: full }), forever, own).ending).toMatchObject({
    kind: EndingKind.INFRASTRUCTURE,
    scope: FailureScope.AGENT,
    detail: expect.stringContaining("the disk of agent-1 is full: / has "),
  });
  expect(interrupted(new Error("who knows"), forever, own).ending).toMatchObject({
    kind: EndingKind.INFRASTRUCTURE,
    scope: FailureScope.UNSPECIFIED,
  });
});
