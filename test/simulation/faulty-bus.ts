import type { Bus, BusMessage } from "../../shared/bus/bus.ts";
import { connectionState } from "../../shared/bus/connection-state.ts";
import { waitingCalls } from "../../shared/bus/waiting-calls.ts";
import type { Clock } from "../../shared/clock.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import type { Chance } from "./chance.ts";

/** How bad the network is. Probabilities are of each message. */
export interface Weather {
  readonly lost: number;
  readonly twice: number;
  /** Much later than usual: past others, and past time-outs. */
  readonly late: number;
}

export const calm: Weather = { lost: 0, twice: 0, late: 0 };

/** One party's way to the bus, which can be cut. */
export interface FaultyBus extends Bus {
  cut(isCut: boolean): void;
}

export interface FaultyBusOptions {
  readonly clock: Clock;
  readonly chance: Chance;
  /** Asked for each message. */
  readonly weather: () => Weather;
}

/**
 * Loses, doubles, delays and so reorders what a party sends and the answers to it. Doubled are messages that want no
 * answer and reports; a request of the coordinator is delivered at most once, as the port promises.
 */
export function faultyBus(base: Bus, { clock, chance, weather }: FaultyBusOptions): FaultyBus {
  const state = connectionState(false);
  const waiting = waitingCalls(clock);
  let isCut = false;
  let isUp = false;
  /** Of this way; what was under way when it was cut is lost. */
  let cuts = 0;

  function update(): void {
    const up = isUp && !isCut;
    state.set(up);
    if (!up) {
      cuts += 1;
      waiting.failAll("the connection was lost");
    }
  }

  const unwatch = base.watchConnection((up) => {
    isUp = up;
    update();
  });

  /** Calls after as long as the message is under way; never when it is lost. */
  function carry(deliver: () => void): void {
    const { lost, late } = weather();
    if (chance.one(lost)) return;
    const delayMs = chance.one(late) ? chance.int(50, 12_000) : chance.int(0, 5);
    const before = cuts;
    clock.after(delayMs, () => {
      if (before === cuts) deliver();
    });
  }

  function ask(subject: string, data: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const once = (): void => {
        base.request(subject, data, { timeoutMs: 10 * timeoutMs }).then(
          (answer) => carry(() => resolve(answer)),
          (error: unknown) => carry(() => reject(from(error))),
        );
      };
      carry(once);
      if (subject.includes(".report.") && chance.one(weather().twice)) carry(once);
    });
  }

  return {
    publish(subject, data) {
      if (!state.isUp()) return;
      carry(() => base.publish(subject, data));
      if (chance.one(weather().twice)) carry(() => base.publish(subject, data));
    },
    async request(subject, data, options) {
      const doing = `a request to ${subject}`;
      if (!state.isUp()) throw new MillraceError("unavailable", `${doing}: the bus is down`);
      return await waiting.wait(doing, ask(subject, data, options.timeoutMs), options);
    },
    async subscribe(subject, handler) {
      if (!state.isUp()) throw new MillraceError("unavailable", `subscribing to ${subject}: the bus is down`);
      const heard = (message: BusMessage): void => {
        if (!isCut) handler(message);
      };
      return await base.subscribe(subject, heard);
    },
    watchConnection: (listener) => state.watch(listener),
    async close() {
      unwatch();
      waiting.failAll("the bus was closed");
      await base.close();
    },
    cut(cut) {
      isCut = cut;
      update();
    },
  };
}
