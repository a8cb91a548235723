import { create } from "@bufbuild/protobuf";
import type { ExecutionRequest } from "../../coordinator/farm/scheduler/scheduler.ts";
import { ActionSchema, CommandSchema } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { HostOperationSchema } from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import { digestOf } from "../../shared/digest.ts";
import type { Chance } from "./chance.ts";
import type { Wanted } from "./submitter.ts";
import type { WorldWeather } from "./world.ts";

/** Something that happens to a part of the farm. */
export type Blow =
  | {
      readonly kind: "agent killed" | "agent stopped" | "agent cut off";
      readonly agent: number;
      readonly forMs: number;
    }
  | { readonly kind: "agent drained"; readonly agent: number; readonly forMs: number }
  | { readonly kind: "agent removed"; readonly agent: number }
  | { readonly kind: "coordinator killed" | "coordinator stopped" | "coordinator cut off"; readonly forMs: number }
  | { readonly kind: "bus down"; readonly forMs: number };

/** All that a seed says of a world. */
export interface Plan {
  readonly agents: readonly { readonly id: string; readonly slots: number; readonly labels: Record<string, string> }[];
  readonly wanted: readonly Wanted[];
  readonly blows: readonly { readonly atMs: number; readonly blow: Blow }[];
  /** Until the faults stop. */
  readonly weather: WorldWeather;
}

/** From then on nothing bad happens any more. */
export const badUntilMs = 90_000;

export function planOf(chance: Chance): Plan {
  const agents = Array.from({ length: chance.int(1, 4) }, (_, index) => ({
    id: `agent-${index}`,
    slots: chance.int(1, 3),
    // The first has everything, so nothing waits for ever.
    labels: { os: "linux", ...(index === 0 || chance.one(0.5) ? { gpu: "yes" } : {}) },
  }));
  const count = chance.int(5, 40);
  const wanted = Array.from({ length: count }, (_, index) => wantedOf(chance, index, agents.length));
  const blows = Array.from({ length: chance.int(0, 12) }, () => ({
    atMs: chance.int(1_000, badUntilMs - 5_000),
    blow: blowOf(chance, agents.length),
  }));
  const some = (most: number): number => (chance.one(0.5) ? chance.next() * most : 0);
  return {
    agents,
    wanted,
    blows: blows.sort((a, b) => a.atMs - b.atMs),
    weather: {
      ...{ lost: some(0.08), twice: some(0.1), late: some(0.08) },
      ...{ coordinatorDiskFull: some(0.05), agentDiskFull: some(0.05), farmFailures: some(0.2) },
    },
  };
}

function wantedOf(chance: Chance, index: number, agents: number): Wanted {
  const isOperation = chance.one(0.08);
  const labels: Record<string, string> = isOperation
    ? { agent: `agent-${chance.int(0, agents - 1)}` }
    : chance.one(0.3)
      ? { gpu: "yes" }
      : { os: "linux" };
  const id = `exe_${index}`;
  const isShared = !isOperation && chance.one(0.2);
  // Those that share an execution are of one group: of which of several it is may change with a restart.
  const fairGroup = chance.int(1, 3);
  const request: ExecutionRequest = {
    id,
    actionDigest: digestOf(Buffer.from(isShared ? `shared ${fairGroup} ${JSON.stringify(labels)}` : id)),
    action: create(ActionSchema, {
      doNotCache: isOperation,
      platform: { properties: Object.entries(labels).map(([name, value]) => ({ name, value })) },
    }),
    command: create(CommandSchema, { arguments: ["true"] }),
    priority: chance.one(0.2) ? chance.int(1, 2) : 0,
    fairGroup: `run_${fairGroup}`,
    volatileEnvironment: {},
    ...(isOperation ? { hostOperation: create(HostOperationSchema) } : {}),
    // Never the first agent, which has everything, so nothing waits for ever.
    ...(isOperation || agents < 2 || index % 5 !== 3 ? {} : { avoidAgents: [`agent-${agents - 1}`] }),
  };
  const fromMs = chance.one(0.5) ? 0 : chance.int(0, 60_000);
  if (!chance.one(0.1)) return { request, fromMs };
  return { request, fromMs, cancelAtMs: fromMs + chance.int(0, 20_000), isTakenBack: index % 2 === 1 };
}

function blowOf(chance: Chance, agents: number): Blow {
  const agent = chance.int(0, agents - 1);
  const forMs = chance.one(0.5) ? chance.int(10, 3_000) : chance.int(3_000, 25_000);
  return chance.pick<() => Blow>([
    () => ({ kind: "agent killed", agent, forMs }),
    () => ({ kind: "agent stopped", agent, forMs }),
    () => ({ kind: "agent cut off", agent, forMs }),
    () => ({ kind: "agent drained", agent, forMs }),
    () => ({ kind: "agent removed", agent }),
    () => ({ kind: "coordinator killed", forMs: Math.min(forMs, 5_000) }),
    () => ({ kind: "coordinator stopped", forMs }),
    () => ({ kind: "coordinator cut off", forMs }),
    () => ({ kind: "bus down", forMs }),
  ])();
}
