import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import {
  type Environment,
  type EnvironmentApp,
  EnvironmentAppSchema,
  EnvironmentSchema,
} from "../../../proto/gen/millrace/v1/environment_pb.ts";
import type { EnvironmentDeployed, Event } from "../../../proto/gen/millrace/v1/event_pb.ts";

/**
 * An environment, folded from its events:
 *
 *     unknown → bound (to an agent, for good) → bound, with apps: a deployment each
 */
export interface EnvironmentState {
  readonly name: string;
  /** Empty before it is bound. */
  agent: string;
  /** Whose it is: that of the run that it was bound for; empty before. */
  project: string;
  readonly apps: Map<string, EnvironmentApp>;
  /** Whose outcomes are in: to record one again, after a crash, changes nothing. */
  readonly executions: Set<string>;
}

export function emptyEnvironment(name: string): EnvironmentState {
  return { name, agent: "", project: "", apps: new Map(), executions: new Set() };
}

/** Folds one event in. Knows no clock and decides nothing. */
export function evolveEnvironment(state: EnvironmentState, { kind, time, project }: Event): void {
  if (kind.case === "environmentBound") {
    if (state.agent !== "") return;
    state.agent = kind.value.agent;
    state.project = project;
  } else if (kind.case === "environmentDeployed") {
    deployed(state, kind.value, time);
  }
}

function deployed(state: EnvironmentState, event: EnvironmentDeployed, time: Timestamp | undefined): void {
  const { outcome, run, executionId } = event;
  if (outcome === undefined || state.executions.has(executionId)) return;
  state.executions.add(executionId);
  const { app, current, healthy } = outcome;
  const before = state.apps.get(app);
  // The same bytes again change nothing about since when, and thanks to which run, they are there.
  const isSame = current !== undefined && before?.current?.hash === current.hash;
  const at = time === undefined ? {} : { lastTime: time };
  const since = isSame ? before?.since : time;
  state.apps.set(
    app,
    create(EnvironmentAppSchema, {
      app,
      healthy,
      last: outcome,
      lastRun: run,
      run: isSame ? (before?.run ?? run) : run,
      ...at,
      ...(current === undefined ? {} : { current }),
      ...(since === undefined ? {} : { since }),
    }),
  );
}

/** The environment as the API shows it. */
export function environmentView({ name, agent, apps }: EnvironmentState): Environment {
  const sorted = [...apps.values()].sort((a, b) => (a.app < b.app ? -1 : 1));
  return create(EnvironmentSchema, { name, agent, apps: sorted });
}
