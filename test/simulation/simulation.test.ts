import { expect, test } from "vitest";
import { simulate, type Verdict } from "./simulate.ts";

/*
 * Farms that live through bad days in no time: the real scheduler and registry and the agents' real sessions, attempts and
 * outboxes, on a bus, disks and a clock that are simulated. Everything follows from the seed of a world.
 *
 *   npm run test:simulation                                                     5,000 worlds
 *   MILLRACE_SIMULATION_FIRST=4711 MILLRACE_SIMULATION_WORLDS=1 npm run test:simulation    one world again
 */
const worlds = Number(process.env["MILLRACE_SIMULATION_WORLDS"] || 200);
/** `npm test` plays the same worlds each time: it judges the change and not the luck of a draw. */
const first = Number(process.env["MILLRACE_SIMULATION_FIRST"] || 311_316_402);

function described({ seed, faults, blows }: Verdict): string {
  const again = `MILLRACE_SIMULATION_FIRST=${seed} MILLRACE_SIMULATION_WORLDS=1 npm run test:simulation`;
  return [`world ${seed}; again: ${again}`, ...blows.map((blow) => `  ${blow}`), ...faults.slice(0, 20)].join("\n");
}

test(
  `no execution is lost, doubled or unfairly kept waiting in worlds ${first} to ${first + worlds - 1}`,
  async () => {
    const bad: Verdict[] = [];
    for (let seed = first; seed < first + worlds; seed += 1) {
      const verdict = await simulate(seed);
      if (verdict.faults.length > 0) bad.push(verdict);
      if (bad.length >= 5) break;
    }
    expect(bad.map(described).join("\n\n")).toBe("");
  },
  60 * 60_000,
);

test("a world is played the same way each time", async () => {
  const [once, again] = [await simulate(first), await simulate(first)];
  expect(again).toEqual(once);
});
