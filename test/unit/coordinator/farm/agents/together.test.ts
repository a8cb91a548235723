import { expect, test } from "vitest";
import { together } from "../../../../../coordinator/farm/agents/together.ts";
import { fakeClock } from "../../../../support/fake-clock.ts";

test("what comes alone is sent at once, and a crowd together and in order", () => {
  const clock = fakeClock();
  const send = together(clock, 20);
  const sent: string[] = [];
  const say = (word: string) => send(() => sent.push(`${word} at ${clock.monotonicMs()}`));
  say("first");
  expect(sent).toEqual(["first at 0"]);
  clock.advance(5);
  say("second");
  clock.advance(10);
  say("third");
  expect(sent).toHaveLength(1);
  clock.advance(5);
  expect(sent.slice(1)).toEqual(["second at 20", "third at 20"]);
  clock.advance(30);
  say("alone");
  expect(sent.at(-1)).toBe("alone at 50");
});

test("what is said while the rest is sent comes with the next", () => {
  const clock = fakeClock();
  const send = together(clock, 20);
  const sent: number[] = [];
  send(() => {
    sent.push(clock.monotonicMs());
    send(() => sent.push(clock.monotonicMs()));
  });
  clock.advance(20);
  expect(sent).toEqual([0, 20]);
});
