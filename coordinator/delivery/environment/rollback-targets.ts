import type { Event } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { type Digest, digestFromMessage } from "../../../shared/digest.ts";
import { limits } from "../../../shared/limits.ts";

/** What must stay so that an environment can be told of and gone back in. */
export interface RollbackTargets {
  /** Runs that deployed what is in place or was before it. */
  readonly runs: readonly string[];
  /** Root Directories of those releases. */
  readonly releases: readonly Digest[];
}

interface Placed {
  readonly release: Digest;
  readonly run: string;
}

/**
 * Of the events of one environment: for each app what is in place, and as many releases before it as its host keeps. A
 * release that was in place twice counts where it was last.
 */
export function rollbackTargets(events: readonly Event[]): RollbackTargets {
  /** By app: releases by hash, the latest last, each with the run that put it there. */
  const apps = new Map<string, Map<string, Placed>>();
  for (const { kind } of events) {
    if (kind.case !== "environmentDeployed" || kind.value.outcome?.current === undefined) continue;
    const { run, outcome } = kind.value;
    const release = digestFromMessage(outcome.current);
    const releases = apps.get(outcome.app) ?? new Map<string, Placed>();
    const before = releases.get(release.hash);
    releases.delete(release.hash);
    // A run whose release went back has put nothing there: what is in place is due to an earlier one.
    releases.set(release.hash, { release, run: outcome.wentBack ? (before?.run ?? run) : run });
    apps.set(outcome.app, releases);
  }
  const kept = [...apps.values()].flatMap((releases) => [...releases.values()].slice(-(limits.releasesKept + 1)));
  return { runs: kept.map(({ run }) => run), releases: kept.map(({ release }) => release) };
}
