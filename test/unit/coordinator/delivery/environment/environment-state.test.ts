import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import {
  emptyEnvironment,
  environmentView,
  evolveEnvironment,
} from "../../../../../coordinator/delivery/environment/environment-state.ts";
import { chooseAgent } from "../../../../../coordinator/delivery/environment/environments.ts";
import type { AgentRecord } from "../../../../../coordinator/farm/agents/agent-registry.ts";
import { PlatformSchema } from "../../../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { AgentInfoSchema, AgentState } from "../../../../../proto/gen/millrace/v1/agent_pb.ts";
import { EventSchema } from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { digestOf, digestToMessage } from "../../../../../shared/digest.ts";

const one = digestToMessage(digestOf(Buffer.from("one")));
const two = digestToMessage(digestOf(Buffer.from("two")));

interface Outcome {
  readonly release: typeof one;
  readonly current?: typeof one;
  readonly healthy?: boolean;
  readonly wentBack?: boolean;
}

function deployed(run: string, timeMs: number, outcome: Outcome, executionId = run) {
  const value = {
    run,
    task: "production/deploy",
    executionId,
    outcome: { environment: "local", app: "app", ...outcome },
  };
  return create(EventSchema, { time: timestampFromMs(timeMs), kind: { case: "environmentDeployed", value } });
}

function view(...events: Parameters<typeof evolveEnvironment>[1][]) {
  const state = emptyEnvironment("local");
  for (const event of events) evolveEnvironment(state, event);
  return environmentView(state);
}

describe("an environment", () => {
  test("belongs to the agent that it was bound to first", () => {
    const bound = (agent: string) =>
      create(EventSchema, { kind: { case: "environmentBound", value: { environment: "local", agent } } });
    expect(view(bound("agent-1"), bound("agent-2"))).toMatchObject({ name: "local", agent: "agent-1", apps: [] });
  });

  test("shows the current release, since when and by which run; the same bytes again change neither", () => {
    const { apps } = view(
      deployed("run_1", 1_000, { release: one, current: one, healthy: true }),
      deployed("run_2", 2_000, { release: one, current: one, healthy: true }),
    );
    expect(apps).toMatchObject([{ current: one, run: "run_1", since: timestampFromMs(1_000), lastRun: "run_2" }]);
  });

  test("keeps its release when a later one goes back, and says so", () => {
    const { apps } = view(
      deployed("run_1", 1_000, { release: one, current: one, healthy: true }),
      deployed("run_2", 2_000, { release: two, current: one, healthy: true, wentBack: true }),
    );
    expect(apps).toMatchObject([
      { current: one, run: "run_1", healthy: true, lastRun: "run_2", last: { wentBack: true } },
    ]);
  });

  test("folds an execution that was recorded twice once", () => {
    const { apps } = view(
      deployed("run_1", 1_000, { release: one, current: one }, "exe"),
      deployed("run_1", 9_000, { release: two, current: two }, "exe"),
    );
    expect(apps).toMatchObject([{ current: one, since: timestampFromMs(1_000) }]);
  });
});

describe("the agent of a new environment", () => {
  const agent = (
    id: string,
    labels: Record<string, string> = {},
    state: AgentState = AgentState.ONLINE,
  ): AgentRecord => ({
    info: create(AgentInfoSchema, { id, labels }),
    state,
    heard: true,
    lastHeartbeatMs: 0,
  });

  test("is one meant for it, before the first by id", () => {
    const both = [agent("a"), agent("b", { env: "local" })];
    expect(chooseAgent(both, "local", undefined)).toBe("b");
    expect(chooseAgent(both, "staging", undefined)).toBe("a");
  });

  test("is there and has every label that the pipeline asks for", () => {
    const platform = create(PlatformSchema, { properties: [{ name: "os", value: "linux" }] });
    const lost = agent("a", { os: "linux" }, AgentState.LOST);
    expect(chooseAgent([lost, agent("b"), agent("c", { os: "linux" })], "local", platform)).toBe("c");
    expect(chooseAgent([lost, agent("b")], "local", platform)).toBeUndefined();
  });
});
