import type { Clock } from "../../shared/clock.ts";
import { from, type MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { DatabaseCopy } from "./database-copy.ts";
import type { Installation } from "./installation.ts";
import { tryProgram } from "./trial.ts";
import type { UpgradeRecord } from "./upgrade-record.ts";
import {
  advance,
  type FailedProgram,
  type OfferedProgram,
  type UpgradeEvent,
  type UpgradeState,
} from "./upgrade-state.ts";

/** What the farm of a running agent does for an upgrade. */
export interface UpgradeFarm {
  /** The bytes of an offered program. */
  fetch(program: OfferedProgram, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** The farm should hear what failed. */
  sayFailed(failed: FailedProgram): void;
}

/** Takes an agent from one version to the next; see upgrade-state.ts. */
export interface Upgrader {
  /** What the coordinator offers; called whenever it does. */
  offered(program: OfferedProgram, farm: UpgradeFarm): void;
  /** The agent was told to end: nothing is begun any more. */
  end(): void;
  /** When the agent has closed: tries the new program. What is to run next, or nothing. */
  conclude(): Promise<"new" | "old" | undefined>; // the new one clears the record, and the copy of the database
}

export interface UpgraderOptions {
  readonly ownVersion: string;
  readonly installation: Installation;
  readonly database: DatabaseCopy;
  readonly record: {
    read(): UpgradeRecord;
    write(record: UpgradeRecord): void;
  };
  /** Arguments of this agent, from `agent` on. */
  readonly args: readonly string[];
  /** Has the agent finish what it holds, and close. */
  readonly drain: (why: string) => void;
  readonly clock: Clock;
  readonly say: (what: string) => void;
  readonly onError: (error: MillraceError) => void;
}

export function upgrader(options: UpgraderOptions): Upgrader {
  const { ownVersion, installation, record, drain, clock, say, onError } = options;
  const ending = new AbortController();
  let state: UpgradeState = { kind: "current", failed: record.read().failed };

  function to(event: UpgradeEvent): UpgradeState {
    state = advance(state, event, ownVersion);
    return state;
  }

  function remember(failed: FailedProgram): void {
    say(`staying with ${ownVersion}: ${failed.version} is not taken, ${failed.reason}`);
    record.write({ failed: { ...failed, timeMs: clock.nowMs() } });
    installation.discard();
  }

  async function fetch(program: OfferedProgram, farm: UpgradeFarm): Promise<void> {
    say(`fetching version ${program.version}`);
    try {
      await installation.put(program, farm.fetch(program, ending.signal));
      const reason = await installation.whyNot(program, ending.signal);
      const next = to(reason === undefined ? { kind: "fetched" } : { kind: "failed", reason });
      if (next.kind === "draining") drain(`upgrading to ${program.version}: draining`);
      if (next.kind === "current" && next.failed !== undefined) {
        remember(next.failed);
        farm.sayFailed(next.failed);
      }
    } catch (error) {
      to({ kind: "lost" });
      installation.discard();
      if (!ending.signal.aborted) onError(from(error, `fetching version ${program.version}`));
    }
  }

  async function attempt(program: OfferedProgram): Promise<UpgradeState> {
    const { version, sha256 } = program;
    record.write({ ...record.read(), trying: { version, sha256 } });
    options.database.make();
    say(`trying version ${version}`);
    const verdict = await tryProgram({
      ...{ file: installation.offered, args: options.args, clock, signal: ending.signal },
      withinMs: limits.upgradeTrialMs,
    });
    if (verdict.kind !== "late") return to(verdict);
    const before = record.read().late;
    const times = (before?.sha256 === sha256 ? before.times : 0) + 1;
    if (times >= limits.upgradeTrials) return to({ kind: "failed", reason: `${verdict.reason}, ${times} times` });
    record.write({ ...record.read(), late: { version, sha256, times } });
    say(`staying with ${ownVersion} for now: version ${version} is tried again, ${verdict.reason}`);
    return to(verdict);
  }

  return {
    offered(program, farm) {
      const before = state;
      if (to({ kind: "offered", program }).kind === "fetching" && before.kind === "current") void fetch(program, farm);
    },
    end() {
      to({ kind: "ending" });
      ending.abort(new Error("the agent was told to end"));
    },
    async conclude() {
      const next = to({ kind: "drained" });
      if (next.kind !== "trying") return undefined;
      const { kind } = await attempt(next.program);
      if (kind === "taken") {
        installation.take();
        say(`version ${next.program.version} takes over`);
        return "new";
      }
      options.database.restore();
      if (state.kind === "kept") remember(state.failed);
      else record.write({ ...record.read(), trying: undefined });
      return state.kind === "kept" || state.kind === "postponed" ? "old" : undefined;
    },
  };
}

/**
 * At a start, before the database is opened: ends what an earlier start has left of an upgrade. One that was cut off in
 * the middle of a trial counts as failed: what tore the machine down may have been the new program.
 */
export function settleUpgrade({
  ownVersion,
  database,
  installation,
  record,
  clock,
}: Pick<UpgraderOptions, "ownVersion" | "database" | "installation" | "record" | "clock">): UpgradeRecord {
  const { trying, failed } = record.read();
  installation.discard();
  if (trying === undefined) return { failed };
  if (trying.version === ownVersion) {
    record.write({});
    database.drop();
    return {};
  }
  database.restore();
  const reason = "the agent was cut off while it was tried";
  const settled = { failed: { ...trying, reason, timeMs: clock.nowMs() } };
  record.write(settled);
  return settled;
}
