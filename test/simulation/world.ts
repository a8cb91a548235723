import type { Clock } from "../../shared/clock.ts";
import type { Chance } from "./chance.ts";
import type { Weather } from "./faulty-bus.ts";

/** What is bad at the moment beside the network. Probabilities are of each write and of each attempt. */
export interface WorldWeather extends Weather {
  readonly coordinatorDiskFull: number;
  readonly agentDiskFull: number;
  /** Attempts that fail for a reason that is not the task's. */
  readonly farmFailures: number;
}

/** What all parts of one simulated world share. */
export interface World {
  readonly clock: Clock;
  readonly chance: Chance;
  weather(): WorldWeather;
  /** Something that must never be has been seen. */
  fail(what: string): void;
}
