import type { AgentOrder, PoolProvider } from "../../coordinator/farm/pools/pool-provider.ts";
import type { Assign } from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import { MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { type BusAgent, busAgent } from "./bus-agent.ts";
import type { SchedulerFarm } from "./scheduler-farm.ts";

/** Numbers from 0 up to 1, the same ones for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Process {
  agent: BusAgent | undefined;
  readonly held: Map<string, Assign>;
  readonly cancels: (() => void)[];
}

/** A provider whose agents are simulated in this process, and whatever goes wrong does. */
export interface SimulatedProvider extends PoolProvider {
  /** Ids of what runs. */
  running(): string[];
  /** Agents that were ended by `remove` while the farm counted on them: never. */
  readonly wronged: string[];
  /** The most that ran at a time. */
  peak(): number;
  /** How often an agent joined. */
  joins(): number;
  /** From now on nothing fails and everybody joins. */
  calm(): void;
}

/**
 * Agents take up to 3 s to join, and one in four does something else: never joins, dies before, dies soon after. One
 * call in eight throws, before or after it has had its effect. Each execution takes up to 2 s.
 */
export function simulatedProvider(farm: () => SchedulerFarm, random: () => number): SimulatedProvider {
  const processes = new Map<string, Process>();
  const wronged: string[] = [];
  let peak = 0;
  let joins = 0;
  let isCalm = false;
  const chance = (share: number): boolean => !isCalm && random() < share;

  function unreliable(effect: () => void): void {
    if (chance(1 / 16)) throw new MillraceError("unavailable", "failed before it did anything");
    effect();
    if (chance(1 / 16)) throw new MillraceError("unavailable", "failed after it had done it");
  }

  function after(process: Process, delayMs: number, call: () => void): void {
    process.cancels.push(farm().clock.after(delayMs, call));
  }

  function end(id: string, isPolite: boolean): void {
    const process = processes.get(id);
    if (process === undefined) return;
    processes.delete(id);
    for (const cancel of process.cancels) cancel();
    if (isPolite) process.agent?.goodbye();
    process.agent?.silence();
  }

  async function boot(id: string, order: AgentOrder, process: Process): Promise<void> {
    const { broker, agents } = farm();
    const agent = await busAgent(broker.connect(), { id, labels: { pool: order.pool } });
    if (processes.get(id) !== process) return agent.silence();
    process.agent = agent;
    await agents.join(agent.info); // its record may come when the process has gone again
    if (processes.get(id) !== process) return;
    joins += 1;
    const beat = (): void => {
      agent.heartbeat();
      after(process, limits.heartbeatIntervalMs, beat);
    };
    beat();
    void work(agent, process);
    if (chance(1 / 12)) after(process, random() * 5_000, () => end(id, false));
  }

  async function work(agent: BusAgent, process: Process): Promise<never> {
    for (;;) {
      const assign = await agent.nextAssign();
      process.held.set(assign.executionId, assign);
      after(process, random() * 2_000, () => {
        agent.report(assign).then(
          () => process.held.delete(assign.executionId),
          () => process.held.delete(assign.executionId), // the farm has ended with the test
        );
      });
    }
  }

  return {
    async add(order) {
      unreliable(() => {
        for (const { id } of order.agents) {
          if (processes.has(id)) continue;
          const process: Process = { agent: undefined, held: new Map(), cancels: [] };
          processes.set(id, process);
          peak = Math.max(peak, processes.size);
          if (chance(1 / 12)) continue; // never joins
          if (chance(1 / 12)) after(process, random() * 2_000, () => end(id, false));
          else after(process, random() * 3_000, () => void boot(id, order, process));
        }
      });
    },
    async remove(ids) {
      unreliable(() => {
        // By what the farm knows: the answer to a last report that it has taken may still be on its way.
        const { heldBy } = farm().scheduler.stats();
        for (const id of ids) {
          const { held } = processes.get(id) ?? {};
          if (heldBy.get(id)?.some((execution) => held?.has(execution) === true) === true) wronged.push(id);
          end(id, random() < 0.5);
        }
      });
    },
    async list() {
      if (chance(1 / 16)) throw new MillraceError("unavailable", "cannot be asked now");
      return [...processes.keys()];
    },
    close: async () => undefined,
    running: () => [...processes.keys()],
    wronged,
    peak: () => peak,
    joins: () => joins,
    calm() {
      isCalm = true;
    },
  };
}
