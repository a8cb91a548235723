import { AgentState } from "../../proto/gen/millrace/v1/agent_pb.ts";
import type { EndingKind } from "../../proto/gen/millrace/v1/event_pb.ts";
import { inProcessBus } from "../../shared/bus/in-process-bus.ts";
import { from } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { chance } from "./chance.ts";
import { calm, faultyBus } from "./faulty-bus.ts";
import { judge } from "./judge.ts";
import { type Blow, badUntilMs, type Plan, planOf } from "./plan.ts";
import { type SimAgent, simAgent } from "./sim-agent.ts";
import { type SimCoordinator, simCoordinator } from "./sim-coordinator.ts";
import { submitter } from "./submitter.ts";
import type { World, WorldWeather } from "./world.ts";
import { type WorldClock, worldClock } from "./world-clock.ts";

/** What came of a world. */
export interface Verdict {
  readonly seed: number;
  /** What was seen that must never be; empty is good. */
  readonly faults: readonly string[];
  /** What happened to it, in order, for whoever looks for the cause. */
  readonly blows: readonly string[];
  /** When the last execution had ended and nothing was left, on the world's clock. */
  readonly doneMs: number;
  readonly endings: ReadonlyMap<EndingKind, number>;
}

/** After the faults have stopped: the longest rest of an agent, and every execution once more. */
const patienceMs = 15 * 60_000;
const fair: WorldWeather = { ...calm, coordinatorDiskFull: 0, agentDiskFull: 0, farmFailures: 0 };

/** Plays the world of a seed from its first moment until nothing is left to be done. */
export async function simulate(seed: number): Promise<Verdict> {
  const draw = chance(seed);
  const random = Math.random;
  // Back-offs draw from it. Nothing else runs while a world does.
  Math.random = draw.next;
  try {
    return await play(seed, draw);
  } finally {
    Math.random = random;
  }
}

async function play(seed: number, draw: ReturnType<typeof chance>): Promise<Verdict> {
  const plan = planOf(draw);
  const clock = worldClock();
  const faults: string[] = [];
  const isBad = (): boolean => clock.monotonicMs() < badUntilMs;
  const world: World = {
    clock,
    chance: draw,
    weather: () => (isBad() ? plan.weather : fair),
    fail: (what) => void faults.push(`${Math.round(clock.monotonicMs())} ms: ${what}`),
  };
  const broker = inProcessBus(clock);
  const onBusError = (error: Error): void => world.fail(`on the bus: ${from(error).message}`);
  const connectBus = () => faultyBus(broker.connect(onBusError), { clock, chance: draw, weather: world.weather });
  const judged = judge(world, () => coordinator.disk.peek<{ id: string }>(byArrival).map(({ id }) => id));
  for (const { request, isTakenBack = false } of plan.wanted) judged.expect(request, isTakenBack);
  for (const { id, slots } of plan.agents) judged.agent(id, slots);
  const wanting = submitter(world, plan.wanted, judged);
  const coordinator: SimCoordinator = simCoordinator(world, {
    connectBus,
    judge: judged,
    onReign: (reign) => wanting.serve(reign),
  });
  const agents = plan.agents.map((each) =>
    simAgent(world, { ...each, connectBus, judge: judged, joinFarm: (info) => coordinator.joinFarm(info) }),
  );
  coordinator.start();
  for (const agent of agents) agent.start();
  const blows = scheduleBlows(plan, { clock, coordinator, agents, setBus: (up) => broker.setUp(up) });

  /** Time goes on until nothing is left, or something is wrong. */
  async function until(left: () => readonly string[], deadlineMs: number): Promise<void> {
    while (faults.length === 0 && (isBad() || left().length > 0)) {
      await settle();
      if (!clock.step()) world.fail("nothing will ever happen again");
      if (clock.monotonicMs() > deadlineMs) for (const what of left()) world.fail(what);
    }
  }

  await until(() => leftOf(wanting.open(), coordinator, agents), badUntilMs + patienceMs);
  // A report whose row could not be deleted is sent once more by the next start of its agent.
  for (const agent of agents) agent.kill();
  for (const agent of agents) agent.start();
  const isOver = () => [...agents.flatMap((agent) => agent.unsent()), ...leftOf([], coordinator, agents)];
  await until(isOver, clock.monotonicMs() + patienceMs);
  for (const agent of agents) agent.close();
  coordinator.kill();
  coordinator.disk.close();
  return { seed, faults, blows, doneMs: clock.monotonicMs(), endings: wanting.endings };
}

const byArrival = "SELECT id FROM execution ORDER BY rowid";

/** What should not be there when all is over. */
function leftOf(open: readonly string[], { reign, disk }: SimCoordinator, agents: readonly SimAgent[]): string[] {
  if (open.length > 0) return open.map((id) => `${id} has not ended`);
  if (reign === undefined) return ["there is no coordinator"];
  const { queued, running, heldBy, concluded } = reign.scheduler.stats();
  const known = [...concluded].map((id) => `${id} is not forgotten`);
  const rows = disk.peek<{ id: string }>("SELECT id FROM execution").map(({ id }) => `${id} has a row`);
  return [
    ...(queued > 0 ? [`${queued} are queued`] : []),
    ...(running > 0 ? [`${running} are held by ${[...heldBy.keys()].join()}`] : []),
    ...[...known, ...rows],
    ...agents.flatMap((agent) => agent.left()),
  ];
}

interface Stage {
  readonly clock: WorldClock;
  readonly coordinator: SimCoordinator;
  readonly agents: readonly SimAgent[];
  readonly setBus: (up: boolean) => void;
}

/** Has everything happen at its time, and come to its end; tells what has. */
function scheduleBlows({ blows }: Plan, stage: Stage): readonly string[] {
  const told: string[] = [];
  for (const { atMs, blow } of blows) {
    stage.clock.after(atMs, () => {
      told.push(`${atMs} ms: ${Object.values(blow).join(" ")}`);
      strike(blow, stage);
    });
  }
  return told;
}

function strike(blow: Blow, { clock, coordinator, agents, setBus }: Stage): void {
  const agent = "agent" in blow ? agents[blow.agent] : undefined;
  const later = (call: () => void): void => {
    if ("forMs" in blow) clock.after(Math.min(blow.forMs, badUntilMs - clock.monotonicMs()), call);
  };
  switch (blow.kind) {
    case "agent killed":
      agent?.kill();
      later(() => {
        if (agent?.isAlive === false) agent.start();
      });
      return;
    case "agent stopped":
      agent?.stop();
      return later(() => agent?.resume());
    case "agent cut off":
      agent?.cut(true);
      return later(() => agent?.cut(false));
    case "agent drained":
      void sayDrain(coordinator, agent?.id ?? "", true);
      return later(() => undrain({ clock, coordinator }, agent?.id ?? ""));
    case "agent removed":
      coordinator.reign?.agents.remove(agent?.id ?? "").catch(() => undefined); // not known, or no room on the disk
      return;
    case "coordinator killed":
      coordinator.kill();
      return later(() => {
        if (!coordinator.isAlive) coordinator.start();
      });
    case "coordinator stopped":
      coordinator.stop();
      return later(() => coordinator.resume());
    case "coordinator cut off":
      coordinator.cut(true);
      return later(() => coordinator.cut(false));
    case "bus down":
      setBus(false);
      return later(() => setBus(true));
    default:
      blow satisfies never;
  }
}

/** A person's command; whether it comes through is not theirs to know. */
function sayDrain(coordinator: SimCoordinator, id: string, draining: boolean): Promise<boolean> {
  const done = coordinator.reign?.agents.drain(id, draining);
  return (
    done?.then(
      () => true,
      () => false,
    ) ?? Promise.resolve(false)
  );
}

/** Again until it has come through: a drained agent would keep the world from its end. */
function undrain({ clock, coordinator }: Pick<Stage, "clock" | "coordinator">, id: string): void {
  void sayDrain(coordinator, id, false);
  clock.after(limits.leaseMs, () => {
    const record = coordinator.reign?.agents.list().find(({ info }) => info.id === id);
    const isThere = record?.state === AgentState.ONLINE;
    if (!isThere) undrain({ clock, coordinator }, id);
  });
}

/** Lets all that follows from the last moment happen, up to what takes time. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 6; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
