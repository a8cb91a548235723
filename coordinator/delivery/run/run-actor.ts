import { create } from "@bufbuild/protobuf";
import { CommitSchema, type Event, RunStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { from } from "../../../shared/errors.ts";
import { type EventStore, emptyStream, type StreamToken } from "../../store/event-store.ts";
import { decide, type Origin, type RunCommand } from "./decide.ts";
import { emptyRun, evolve, type RunState } from "./run-state.ts";
import type { RunEvent } from "./runs.ts";

interface Pending {
  readonly command: RunCommand;
  readonly origin: Origin;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export interface RunActorDeps {
  readonly store: EventStore;
  /** Told of events when they are on disk, in order; must not throw. */
  readonly onEvents: (actor: RunActor, events: readonly Event[]) => void;
}

/**
 * One run: takes commands one after another, appends what follows from them, and lets anybody watch. Commands that
 * arrive while an append is under way share the next one, so a burst of a thousand costs a few commits.
 */
export class RunActor {
  readonly #deps: RunActorDeps;
  #state: RunState;
  #token: StreamToken = emptyStream;
  /** All events so far, so that a watcher is only a position in them. */
  #history: Event[] = [];
  #pending: Pending[] = [];
  #busy = false;
  #changed = Promise.withResolvers<void>();

  constructor(run: string, deps: RunActorDeps) {
    this.#state = emptyRun(run);
    this.#deps = deps;
  }

  /** Folds what the store has of the run. */
  async load(): Promise<void> {
    const state = emptyRun(this.#state.run);
    const { commits, token } = await this.#deps.store.read(streamOf(state.run));
    const history = commits.flatMap(({ commit }) => commit.events);
    for (const event of history) evolve(state, event);
    this.#state = state;
    this.#token = token;
    this.#history = history;
  }

  /** Not to be changed by the caller. */
  get state(): RunState {
    return this.#state;
  }

  get finished(): boolean {
    return this.#state.status !== RunStatus.RUNNING && this.#history.length > 0;
  }

  /** Resolves when the events that follow are on disk. */
  do(command: RunCommand, origin: Origin): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ command, origin, resolve, reject });
      if (!this.#busy) void this.#drain();
    });
  }

  /** Events after a sequence, then live ones until the run has finished. */
  async *watch(afterSequence: number, signal: AbortSignal): AsyncGenerator<RunEvent> {
    const aborted = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    for (let sequence = afterSequence + 1; !signal.aborted; sequence += 1) {
      while (this.#history.length < sequence && !this.finished && !signal.aborted) {
        await Promise.race([this.#changed.promise, aborted]);
      }
      const event = this.#history[sequence - 1];
      if (event === undefined) return;
      yield { sequence, event };
    }
  }

  async #drain(): Promise<void> {
    this.#busy = true;
    while (this.#pending.length > 0) {
      const batch = this.#pending;
      this.#pending = [];
      const decided: Pending[] = [];
      const events: Event[] = [];
      for (const pending of batch) {
        try {
          events.push(...decide(this.#state, pending.command, pending.origin));
          decided.push(pending);
        } catch (error) {
          pending.reject(error);
        }
      }
      try {
        await this.#append(events);
        for (const { resolve } of decided) resolve();
      } catch (error) {
        const failure = from(error, `recording events of ${this.#state.run}`);
        for (const { reject } of decided) reject(failure);
      }
    }
    this.#busy = false;
  }

  async #append(events: Event[]): Promise<void> {
    if (events.length === 0) return;
    const { store, onEvents } = this.#deps;
    try {
      this.#token = await store.append(streamOf(this.#state.run), this.#token, create(CommitSchema, { events }));
    } catch (error) {
      // The state was folded ahead of the disk: back to what is really there.
      await this.load();
      throw error;
    }
    this.#history.push(...events);
    const changed = this.#changed;
    this.#changed = Promise.withResolvers();
    changed.resolve();
    onEvents(this, events);
  }
}

function streamOf(run: string): string {
  return `run/${run}`;
}

/** The run that a stream holds; undefined when it holds something else. */
export function runOfStream(stream: string): string | undefined {
  return stream.startsWith("run/") ? stream.slice("run/".length) : undefined;
}
