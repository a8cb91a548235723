import { type Random, seeded } from "./plan.ts";

/** What is done to one agent, to its link, to what goes through its proxies, or to the middle of the farm. */
const harms = [
  "kill agent",
  "stop agent",
  "link down",
  "packets vanish",
  "gRPC refused",
  "bus half open",
  "delay",
  "disk full",
  "blob damaged",
  "kill coordinator",
  "kill nats",
] as const;
export type Harm = (typeof harms)[number];

/** Those that may cost a task an attempt; of four placements the last must find peace. */
const costly: ReadonlySet<Harm> = new Set([
  "kill agent",
  "stop agent",
  "link down",
  "packets vanish",
  "bus half open",
  "disk full",
]);
const costlyMost = 3;

/** One disturbance. */
export interface Strike {
  readonly harm: Harm;
  /** Index of the agent that it is for. */
  readonly agent: number;
  /** From the start of the run. */
  readonly atMs: number;
  /** Until it is over, where it lasts. */
  readonly forMs: number;
  /** For what it leaves to chance beyond that, from 0 to 1. */
  readonly share: number;
}

/** A task of a round. It prints `lines` numbered lines with its name, and takes about `ms`. */
export interface PlannedWork {
  readonly name: string;
  /** Names of tasks whose artifact it reads. */
  readonly uses: readonly string[];
  readonly lines: number;
  readonly ms: number;
}

/** One round of the network campaign. */
export interface NetworkRound {
  readonly number: number;
  readonly nonce: string;
  readonly tasks: readonly PlannedWork[];
  readonly strikes: readonly Strike[];
}

/** What a round does depends on the seed and its number alone. */
export function planNetworkRound(seed: number, number: number, agents: number): NetworkRound {
  const random = seeded(Math.imul(seed, 48_271) + Math.imul(number, 7_919));
  for (let i = 0; i < 3; i += 1) random.below(1); // near seeds begin alike
  return { number, nonce: `net${seed}x${number}`, tasks: planTasks(random), strikes: planStrikes(random, agents) };
}

/** A hundred: ten chains of four, a fan of twenty between two, and what stands alone. */
function planTasks(random: Random): PlannedWork[] {
  const tasks: PlannedWork[] = [];
  const add = (name: string, uses: readonly string[]): void => {
    tasks.push({ name, uses, lines: 1 + random.below(40), ms: random.below(300) });
  };
  for (let chain = 0; chain < 10; chain += 1) {
    for (let link = 0; link < 4; link += 1)
      add(`chain${chain}-${link}`, link === 0 ? [] : [`chain${chain}-${link - 1}`]);
  }
  add("fan", []);
  const leaves = Array.from({ length: 20 }, (_, index) => `leaf${index}`);
  for (const leaf of leaves) add(leaf, ["fan"]);
  add("join", leaves);
  for (let index = 0; tasks.length < 100; index += 1) add(`alone${index}`, []);
  return tasks;
}

/** Between four and eight, one after another begun, some of them at the same time. */
function planStrikes(random: Random, agents: number): Strike[] {
  const strikes: Strike[] = [];
  let atMs = 300;
  for (let left = 4 + random.below(5); left > 0; left -= 1) {
    const cost = strikes.filter(({ harm }) => costly.has(harm)).length;
    const harm = random.pick(harms);
    const strike = {
      agent: random.below(agents),
      atMs,
      forMs: 300 + random.below(4_000),
      share: random.below(1_000) / 1_000,
    };
    atMs += 200 + random.below(1_500);
    if (!costly.has(harm) || cost < costlyMost) strikes.push({ harm, ...strike });
  }
  return strikes;
}
