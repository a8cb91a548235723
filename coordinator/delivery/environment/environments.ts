import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Platform } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import type { Environment } from "../../../proto/gen/millrace/v1/environment_pb.ts";
import { CommitSchema, type DeploymentOutcome, EventSchema } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { retry } from "../../../shared/retry.ts";
import type { AgentRecord, AgentRegistry } from "../../farm/agents/agent-registry.ts";
import type { EventKind } from "../../store/event-kind.ts";
import type { EventStore, StreamToken } from "../../store/event-store.ts";
import { type EnvironmentState, emptyEnvironment, environmentView, evolveEnvironment } from "./environment-state.ts";

/** A deployment that has ended. */
export interface EndedDeployment {
  readonly run: string;
  readonly project: string;
  /** `stage/task`. */
  readonly task: string;
  readonly executionId: string;
  readonly outcome: DeploymentOutcome;
}

/** Where an environment that is new shall be. */
export interface BindingWish {
  readonly project: string;
  /** Labels that its agent must have. */
  readonly platform: Platform | undefined;
  /** Told, for a person, when no agent is there that could be chosen. */
  readonly onWait: (detail: string) => void;
}

/** Where releases go, and what stands there. Methods may be called concurrently. */
export interface Environments {
  /**
   * The agent that the environment is tied to. The first call chooses one with the labels of the platform, preferably one
   * with the label `env=<environment>`, and records it; it waits while no agent matches. The environment is the project's
   * from then on: throws `invalid_argument` for another one.
   */
  bind(environment: string, wish: BindingWish, signal: AbortSignal): Promise<string>;
  /** Resolves when the outcome is on disk; recording an execution again changes nothing. */
  record(deployment: EndedDeployment): Promise<void>;
  /** Undefined for an environment that nothing was ever deployed to. */
  projectOf(environment: string): Promise<string | undefined>;
  /** Throws `not_found` for an environment that nothing was ever deployed to. */
  get(environment: string): Promise<Environment>;
}

export interface EnvironmentsDeps {
  readonly store: EventStore;
  readonly agents: Pick<AgentRegistry, "list" | "subscribe">;
  readonly clock: Clock;
}

/** Each environment is a stream of its own, read when it is needed: deployments are rare and streams short. */
export function storedEnvironments({ store, agents, clock }: EnvironmentsDeps): Environments {
  async function load(name: string): Promise<{ state: EnvironmentState; token: StreamToken }> {
    const { commits, token } = await store.read(`environment/${name}`);
    const state = emptyEnvironment(name);
    for (const event of commits.flatMap(({ commit }) => commit.events)) evolveEnvironment(state, event);
    return { state, token };
  }

  /** Reads, decides, appends; anew when somebody else was faster. */
  async function change(
    name: string,
    project: string,
    decide: (state: EnvironmentState) => EventKind | undefined,
  ): Promise<EnvironmentState> {
    const attempt = async () => {
      const { state, token } = await load(name);
      const kind = decide(state);
      if (kind === undefined) return state;
      const time = timestampFromMs(clock.nowMs());
      const event = create(EventSchema, { time, principal: "system:environments", project, kind });
      await store.append(`environment/${name}`, token, create(CommitSchema, { events: [event] }));
      evolveEnvironment(state, event);
      return state;
    };
    const never = new AbortController().signal;
    const isRetryable = (error: unknown) => from(error).code === "aborted";
    return await retry(attempt, { ...pace, clock, signal: never, isRetryable });
  }

  return {
    async bind(name, wish, signal) {
      const { state } = await load(name);
      if (state.agent !== "") return agentFor(state, wish);
      const agent = await firstMatch(agents, name, wish, signal);
      const bound = await change(name, wish.project, (now) =>
        now.agent === "" ? { case: "environmentBound", value: { environment: name, agent } } : undefined,
      );
      return agentFor(bound, wish);
    },
    async projectOf(name) {
      const { state } = await load(name);
      return state.agent === "" ? undefined : state.project;
    },
    async record({ run, project, task, executionId, outcome }) {
      await change(outcome.environment, project, (now) =>
        now.executions.has(executionId)
          ? undefined
          : { case: "environmentDeployed", value: { run, task, executionId, outcome } },
      );
    },
    async get(name) {
      const { state } = await load(name);
      if (state.agent === "") {
        throw new MillraceError(
          "not_found",
          `there is no environment "${name}": a stage with \`deploy: { environment: ${name}, … }\` makes it at its first run`,
        );
      }
      return environmentView(state);
    },
  };
}

/** What stands there is a project's own; that another one's pipeline uses the same name is no reason to replace it. */
function agentFor({ name, agent, project }: EnvironmentState, wish: BindingWish): string {
  if (project === wish.project) return agent;
  throw new MillraceError(
    "invalid_argument",
    `the environment ${name} belongs to another project than ${wish.project}: choose another name for it`,
  );
}

const pace = { random: Math.random, baseMs: limits.retryMinMs, maxMs: limits.retryMaxMs, attemptsMax: 10 };

/** Resolves with the agent to take as soon as there is one. */
async function firstMatch(
  agents: Pick<AgentRegistry, "list" | "subscribe">,
  environment: string,
  { platform, onWait }: BindingWish,
  signal: AbortSignal,
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const look = () => {
    const found = chooseAgent(agents.list(), environment, platform);
    if (found !== undefined) resolve(found);
    return found !== undefined;
  };
  const giveUp = () => reject(new MillraceError("canceled", `waiting for an agent for the environment ${environment}`));
  const unsubscribe = agents.subscribe(() => void look());
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    if (signal.aborted) giveUp();
    if (!look()) onWait(`no connected agent can take the environment ${environment}`);
    return await promise;
  } finally {
    unsubscribe();
    signal.removeEventListener("abort", giveUp);
  }
}

/** An agent that is there and has the labels: before others one that is meant for the environment, then the first by id. */
export function chooseAgent(
  agents: readonly AgentRecord[],
  environment: string,
  platform: Platform | undefined,
): string | undefined {
  const isMeant = ({ info }: AgentRecord) => info.labels.env === environment;
  const matching = agents
    .filter(({ state, heard }) => state === AgentState.ONLINE && heard)
    .filter(({ info }) => (platform?.properties ?? []).every(({ name, value }) => info.labels[name] === value))
    .sort((a, b) => Number(isMeant(b)) - Number(isMeant(a)) || (a.info.id < b.info.id ? -1 : 1));
  return matching[0]?.info.id;
}
