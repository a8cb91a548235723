import { from } from "./errors.ts";

/** A part of a process that is started and stopped. */
export interface Component {
  readonly name: string;
  /** Resolves when the part serves. */
  start?(): Promise<void>;
  /** Finishes what it has, then frees what it holds. Called once, and only after `start` resolved. */
  stop?(): Promise<void>;
}

export interface Lifecycle {
  /** Starts in order; when one fails, stops those already started and throws. */
  start(): Promise<void>;
  /** Stops in reverse order; every part gets its turn, then the first error is thrown. Safe to call twice. */
  stop(): Promise<void>;
}

/** Parts that depend on one another, in the order of dependence. */
export function lifecycle(components: readonly Component[]): Lifecycle {
  const started: Component[] = [];
  let stopping: Promise<void> | undefined;

  async function stopAll(): Promise<void> {
    let first: Error | undefined;
    for (let part = started.pop(); part !== undefined; part = started.pop()) {
      try {
        await part.stop?.();
      } catch (error) {
        first ??= from(error, `stopping ${part.name}`);
      }
    }
    if (first !== undefined) throw first;
  }

  return {
    async start() {
      for (const part of components) {
        try {
          await part.start?.();
        } catch (error) {
          const failure = from(error, `starting ${part.name}`);
          await stopAll().catch((second: unknown) => {
            failure.message += ` (and then ${from(second).message})`;
          });
          throw failure;
        }
        started.push(part);
      }
    },
    stop() {
      stopping ??= stopAll();
      return stopping;
    },
  };
}
