import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type ApprovedCandidate,
  CommitSchema,
  type Event,
  EventSchema,
  RunStatus,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { limits } from "../../../shared/limits.ts";
import type { Turns } from "../../../shared/turns.ts";
import type { RetentionPolicy } from "../../delivery/project/retention.ts";
import { approvalsOf } from "../../delivery/run/candidates.ts";
import type { RunSummaries } from "../../delivery/run/run-summaries.ts";
import { type KeptRuns, keepingStream, runNumber } from "../../delivery/run/runs.ts";
import type { LogKeeping } from "../../farm/logs/log-keeping.ts";
import type { EventStore } from "../../store/event-store.ts";
import type { StreamKeeping } from "../../store/stream-keeping.ts";
import { chooseByAge, type RetentionChoice, type RunAge } from "./retention.ts";

export interface ExpireRunsDeps {
  readonly store: Pick<EventStore, "read"> & StreamKeeping;
  readonly summaries: Pick<RunSummaries, "list">;
  readonly runs: KeptRuns;
  readonly logs: LogKeeping;
  readonly clock: Clock;
  readonly pinning: Turns;
  readonly policyOf: (project: string) => RetentionPolicy;
}

/** Ends what of runs is over its time. */
export interface ExpireRuns {
  /** @param needed runs that stay as if they were pinned */
  choose(needed: ReadonlySet<string>): Promise<RetentionChoice>;
  /**
   * Removes them, but for those that were pinned or opened again meanwhile; resolves with the names of those that are gone. Logs first:
   * as long as the run is listed, a removal that broke off is done again.
   */
  expire(runs: readonly RunAge[]): Promise<string[]>;
  /** Those that `expire` would remove at this moment: the list that they were chosen from may not know the last pins yet. */
  wouldExpire(runs: readonly RunAge[]): Promise<string[]>;
  /** But for those that were pinned or opened again meanwhile; resolves with how many had logs. */
  removeLogs(runs: readonly RunAge[]): Promise<number>;
  /** How many of these runs `removeLogs` would find with logs at this moment. */
  countLogs(runs: readonly RunAge[]): Promise<number>;
}

export function expireRuns({ store, summaries, runs, logs, clock, pinning, policyOf }: ExpireRunsDeps): ExpireRuns {
  /** All runs, newest first. */
  async function ages(needed: ReadonlySet<string>): Promise<RunAge[]> {
    const found: RunAge[] = [];
    for (let before = Number.MAX_SAFE_INTEGER; ; ) {
      const page = await summaries.list({ before, limit: limits.listPage });
      for (const { name, project, status, finishTime, pinned } of page) {
        const finishedMs =
          status === RunStatus.RUNNING || finishTime === undefined ? undefined : timestampMs(finishTime);
        found.push({ run: name, project, finishedMs, pinned: pinned || needed.has(name) });
      }
      const last = page.at(-1);
      if (last === undefined || page.length < limits.listPage) return found;
      before = runNumber(last.name) ?? 0;
    }
  }

  async function wouldExpire(chosen: readonly RunAge[]): Promise<string[]> {
    const going: string[] = [];
    for (const { run } of chosen) if (await mayGo(run)) going.push(run);
    return going;
  }

  /** Whether it has finished still and nobody has pinned it, as the log has it. */
  async function mayGo(run: string): Promise<boolean> {
    const state = await runs.stateOf(run);
    return state !== undefined && !state.pinned && state.status !== RunStatus.RUNNING;
  }

  /** No run is pinned or opened again while its state is looked at and it goes. */
  async function expireSome(batch: readonly RunAge[]): Promise<string[]> {
    const gone = await wouldExpire(batch);
    if (gone.length === 0) return [];
    for (const run of gone) await logs.remove(run);
    const approvals: ApprovedCandidate[] = [];
    for (const run of gone) approvals.push(...approvalsOf(run, await eventsOf(run)));
    const { token } = await store.read(keepingStream);
    const event = create(EventSchema, {
      time: timestampFromMs(clock.nowMs()),
      principal: "system:keeping",
      kind: { case: "runsExpired", value: { runs: gone, approvals } },
    });
    const commit = create(CommitSchema, { events: [event] });
    await store.retire({ stream: keepingStream, expected: token, commit, retired: gone.map((run) => `run/${run}`) });
    await runs.forget(gone);
    return gone;
  }

  async function eventsOf(run: string): Promise<Event[]> {
    return (await store.read(`run/${run}`)).commits.flatMap(({ commit }) => commit.events);
  }

  async function withLogs(chosen: readonly RunAge[]): Promise<string[]> {
    const there = new Set(await logs.runs());
    return chosen.map(({ run }) => run).filter((run) => there.has(run));
  }

  return {
    async choose(needed) {
      return chooseByAge(await ages(needed), policyOf, clock.nowMs());
    },
    wouldExpire,
    async expire(chosen) {
      const gone: string[] = [];
      for (let start = 0; start < chosen.length; start += limits.expiredRuns) {
        const batch = chosen.slice(start, start + limits.expiredRuns);
        gone.push(...(await pinning.take(() => expireSome(batch))));
      }
      return gone;
    },
    async removeLogs(chosen) {
      let removed = 0;
      for (const run of await withLogs(chosen)) {
        removed += await pinning.take(async () => {
          if (!(await mayGo(run))) return 0;
          await logs.remove(run);
          return 1;
        });
      }
      return removed;
    },
    async countLogs(chosen) {
      let count = 0;
      for (const run of await withLogs(chosen)) if (await mayGo(run)) count += 1;
      return count;
    },
  };
}
