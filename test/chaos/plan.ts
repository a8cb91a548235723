/** Pseudo-random numbers from a seed, so that a campaign can be run again as it was. */
export interface Random {
  /** A whole number from 0 to `below` - 1. */
  below(below: number): number;
  pick<T>(from: readonly [T, ...T[]]): T;
}

/** Mulberry32: small, and good enough to choose by. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (bound: number): number => Math.floor(next() * bound);
  return {
    below,
    pick: (from) => from[below(from.length)] ?? from[0],
  };
}

/** What can be killed: the processes of a farm. */
export type Part = "agent" | "runner" | "coordinator" | "nats" | "up";

/** Who is killed at once. Of agent and runner together none is left to clean up. */
const victims: readonly (readonly Part[])[] = [
  ["agent"],
  ["runner"],
  ["agent", "runner"],
  ["coordinator"],
  ["nats"],
  ["up"],
];

/**
 * When: while a task waits for a slot; when an agent has taken one; when its inputs are fetched; in the middle of its output;
 * when its outputs are uploaded; when the process has ended and the report is on its way; at one of the writes of the
 * coordinator's database from then on; and at any state of any task's output.
 */
const points = ["queued", "assigned", "inputs", "output", "outputs", "report", "terminal", "anywhere"] as const;
export type Point = (typeof points)[number];

/** How a task tries to leave processes behind. */
export type Escape = "none" | "setsid" | "set-m" | "double-fork";

/** One round of the campaign. */
export interface Round {
  readonly number: number;
  readonly victims: readonly Part[];
  readonly point: Point;
  readonly escape: Escape;
  /** Makes its inputs and its processes unlike all others. */
  readonly nonce: string;
  /** Of `output` and `anywhere`: after which share of the task's output, from 0 to 1. */
  readonly share: number;
  /** Of `anywhere`: of which task. */
  readonly task: "numbers" | "other" | "check";
  /** Of `terminal`: at which write. */
  readonly write: number;
}

/**
 * What a round does: it depends on the seed and its number alone. 48 rounds in a row go through all victims at all points,
 * in an order of the seed's. At `anywhere`, a second victim may join.
 */
export function planRound(seed: number, number: number): Round {
  const random = seeded(Math.imul(seed, 31_337) + Math.imul(number, 7_919));
  for (let i = 0; i < 3; i += 1) random.below(1); // near seeds begin alike
  const pairs = victims.length * points.length;
  const pair = (seeded(seed).below(pairs) + number * 11) % pairs; // 11 shares no factor with the number of pairs
  const point = points[pair % points.length] ?? "anywhere";
  const some = victims[Math.floor(pair / points.length)] ?? ["agent"];
  const also = random.pick<Part>(["agent", "coordinator", "nats"]);
  const joins = point === "anywhere" && !some.includes("up") && random.below(2) === 0;
  return {
    number,
    point,
    victims: joins ? [...new Set([...some, also])] : some,
    escape: random.pick(["none", "setsid", "set-m", "double-fork"]),
    nonce: `${seed}x${number}`,
    share: random.below(1_000) / 1_000,
    task: random.pick(["numbers", "other", "check"]),
    write: random.below(4),
  };
}
