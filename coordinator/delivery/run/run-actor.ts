import { create } from "@bufbuild/protobuf";
import { CommitSchema, type Event, RunStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { from } from "../../../shared/errors.ts";
import { type EventStore, emptyStream, type StreamToken } from "../../store/event-store.ts";
import { decide } from "./decide.ts";
import type { Origin, RunCommand } from "./run-command.ts";
import { emptyRun, evolve, type RunState } from "./run-state.ts";
import type { RunEvent } from "./runs.ts";

interface Pending {
  readonly command: RunCommand;
  readonly origin: Origin;
  readonly resolve: (events: readonly Event[]) => void;
  readonly reject: (error: unknown) => void;
}

interface Decided extends Pick<Pending, "resolve"> {
  readonly followed: readonly Event[];
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
  /** Of the events on disk: what everybody sees. */
  #state: RunState;
  /** Ahead of it by what is being appended: what is decided on. */
  #draft: RunState;
  /** An append ended in a way that leaves open what is on disk: it must be read before anything is decided. */
  #stale = false;
  #token: StreamToken = emptyStream;
  /** All events so far, so that a watcher is only a position in them. */
  #history: Event[] = [];
  #pending: Pending[] = [];
  #busy = false;
  /** Watchers that have seen everything so far. */
  readonly #waiting = new Set<() => void>();

  constructor(run: string, deps: RunActorDeps) {
    this.#state = emptyRun(run);
    this.#draft = emptyRun(run);
    this.#deps = deps;
  }

  /** Folds what the store has of the run. */
  async load(): Promise<void> {
    const { run } = this.#state;
    const { commits, token } = await this.#deps.store.read(streamOf(run));
    this.#history = commits.flatMap(({ commit }) => commit.events);
    this.#state = fold(run, this.#history);
    this.#draft = fold(run, this.#history);
    this.#token = token;
    this.#stale = false;
  }

  /** Not to be changed by the caller. */
  get state(): RunState {
    return this.#state;
  }

  /** All events so far, all of them on disk. Grows; not to be changed by the caller. */
  get history(): readonly Event[] {
    return this.#history;
  }

  get finished(): boolean {
    return this.#history.length > 0 && this.#state.status !== RunStatus.RUNNING;
  }

  /** Resolves with the events that follow when they are on disk. */
  do(command: RunCommand, origin: Origin): Promise<readonly Event[]> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ command, origin, resolve, reject });
      if (!this.#busy) void this.#drain();
    });
  }

  /** Events after a sequence, then live ones until the run has finished: a run that goes on later is watched anew. */
  async *watch(afterSequence: number, signal: AbortSignal): AsyncGenerator<RunEvent> {
    for (let sequence = Math.max(0, afterSequence) + 1; !signal.aborted; sequence += 1) {
      while (this.#history.length < sequence && !this.finished && !signal.aborted) await this.#change(signal);
      const event = this.#history[sequence - 1];
      if (event === undefined) return;
      yield { sequence, event };
    }
  }

  /** Resolves at the next change, or when the signal aborts. */
  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener("abort", done);
    });
  }

  async #drain(): Promise<void> {
    this.#busy = true;
    while (this.#pending.length > 0) {
      const batch = this.#pending;
      this.#pending = [];
      try {
        if (this.#stale) await this.load();
        const { events, decided } = this.#decide(batch);
        await this.#append(events);
        for (const { resolve, followed } of decided) resolve(followed);
      } catch (error) {
        const failure = from(error, `recording events of ${this.#state.run}`);
        for (const { reject } of batch) reject(failure);
      }
    }
    this.#busy = false;
  }

  #decide(batch: readonly Pending[]): { events: Event[]; decided: Decided[] } {
    const events: Event[] = [];
    const decided: Decided[] = [];
    for (const pending of batch) {
      try {
        const followed = decide(this.#draft, pending.command, pending.origin);
        events.push(...followed);
        decided.push({ resolve: pending.resolve, followed });
      } catch (error) {
        pending.reject(error);
      }
    }
    return { events, decided };
  }

  async #append(events: Event[]): Promise<void> {
    if (events.length === 0) return;
    const { store, onEvents } = this.#deps;
    try {
      this.#token = await store.append(streamOf(this.#state.run), this.#token, create(CommitSchema, { events }));
    } catch (error) {
      this.#stale = true;
      throw error;
    }
    for (const event of events) {
      this.#history.push(event);
      evolve(this.#state, event);
    }
    for (const wake of [...this.#waiting]) wake();
    onEvents(this, events);
  }
}

function fold(run: string, events: readonly Event[]): RunState {
  const state = emptyRun(run);
  for (const event of events) evolve(state, event);
  return state;
}

function streamOf(run: string): string {
  return `run/${run}`;
}

/** The run that a stream holds; undefined when it holds something else. */
export function runOfStream(stream: string): string | undefined {
  return stream.startsWith("run/") ? stream.slice("run/".length) : undefined;
}
