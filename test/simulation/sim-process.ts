import type { Bus } from "../../shared/bus/bus.ts";
import type { Clock } from "../../shared/clock.ts";
import { from } from "../../shared/errors.ts";

/** A process as its system sees it: it runs, it is stopped for a while, or it was killed. Nothing of it runs after that. */
export interface SimProcess {
  /** The world's; its timers fire only while the process runs. */
  readonly clock: Clock;
  readonly isAlive: boolean;
  readonly isStopped: boolean;
  /** Something comes from outside: at once when it runs, later when it is stopped, never when it was killed. */
  deliver(call: () => void): void;
  /** The same answer, as the process learns of it. */
  answer<T>(promise: Promise<T>): Promise<T>;
  /** SIGSTOP. */
  stop(): void;
  /** SIGCONT: what came meanwhile is delivered in order. */
  resume(): void;
  /** SIGKILL. */
  kill(): void;
}

/** A machine with its disk, which runs such processes one after another; alive while one runs or is about to. */
export interface SimHost extends Pick<SimProcess, "isAlive" | "kill" | "stop" | "resume"> {
  start(): void;
  cut(isCut: boolean): void;
}

export function simProcess(world: Clock): SimProcess {
  let isAlive = true;
  let isStopped = false;
  let held: (() => void)[] = [];

  function deliver(call: () => void): void {
    if (!isAlive) return;
    if (isStopped) held.push(call);
    else call();
  }

  return {
    clock: { ...world, after: (delayMs, call) => world.after(delayMs, () => deliver(call)) },
    get isAlive() {
      return isAlive;
    },
    get isStopped() {
      return isStopped;
    },
    deliver,
    answer: (promise) =>
      new Promise((resolve, reject) => {
        promise.then(
          (value) => deliver(() => resolve(value)),
          (error: unknown) => deliver(() => reject(from(error))),
        );
      }),
    stop() {
      isStopped = true;
    },
    resume() {
      isStopped = false;
      const calls = held;
      held = [];
      for (const call of calls) deliver(call);
    },
    kill() {
      isAlive = false;
      held = [];
    },
  };
}

/** The bus as this process knows it. */
export function busOf(process: SimProcess, base: Bus): Bus {
  return {
    publish(subject, data) {
      if (process.isAlive) base.publish(subject, data);
    },
    request: (subject, data, options) => process.answer(base.request(subject, data, options)),
    subscribe: (subject, handler) =>
      process.answer(base.subscribe(subject, (message) => process.deliver(() => handler(message)))),
    watchConnection: (listener) => base.watchConnection((up) => process.deliver(() => listener(up))),
    close: () => process.answer(base.close()),
  };
}
