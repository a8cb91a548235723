import { create } from "@bufbuild/protobuf";
import { nextPlacement, type Place, places } from "../../coordinator/farm/scheduler/placement.ts";
import { requirementOf } from "../../coordinator/farm/scheduler/requirement.ts";
import { waitingQueue } from "../../coordinator/farm/scheduler/waiting-queue.ts";
import { PlatformSchema } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";

/** A farm and what waits for it. */
export interface FarmSize {
  readonly agents: number;
  readonly queued: number;
  /** Runs that the queued are of. */
  readonly groups: number;
}

const decisions = 2_000;
const rounds = 7;

/**
 * What one decision costs in the mean of each round, in microseconds: who is next and where it goes, the queue, the slots and the fair
 * shares put right. One task ends for each that is placed, so the farm stays nearly full and the queue as long.
 */
export function decisionCostsUs({ agents, queued, groups }: FarmSize): number[] {
  const running = new Map<string, number>();
  const queue = waitingQueue((group) => running.get(group) ?? 0);
  const farm = places();
  const requirements = ["linux", "mac", "windows"].map((value) =>
    requirementOf(create(PlatformSchema, { properties: [{ name: "os", value }] })),
  );
  for (let index = 0; index < agents; index += 1) {
    const labels = { os: ["linux", "mac", "windows"][index % 3] ?? "linux", arch: "x64", agent: `agent-${index}` };
    farm.set({ id: `agent-${index}`, labels, slots: 4, used: index % 10 === 0 ? 3 : 4, standing: "open" });
  }
  let order = 0;
  const wait = (): void => {
    const requirement = requirements[order % 3];
    if (requirement === undefined) return;
    const fairGroup = `run_${order % groups}`;
    queue.add({ id: `exe_${order}`, priority: 0, fairGroup, requirement, order });
    order += 1;
  };
  while (order < queued) wait();
  const taken: { place: Place; group: string }[] = [];
  const use = (id: string, by: number): void => {
    const place = farm.get(id);
    if (place !== undefined) farm.set({ ...place, used: place.used + by });
  };
  const run = (group: string, by: number): void => {
    running.set(group, (running.get(group) ?? 0) + by);
    queue.runningChanged(group);
  };
  const decide = (): void => {
    const next = nextPlacement(queue, farm);
    const place = next && farm.get(next.agentId);
    if (next === undefined || place === undefined) throw new Error("the farm has no room for the next decision");
    queue.remove(next.waiting.id);
    use(next.agentId, 1);
    run(next.waiting.fairGroup, 1);
    taken.push({ place, group: next.waiting.fairGroup });
    if (taken.length > agents / 20) {
      const done = taken.shift();
      if (done !== undefined) {
        use(done.place.id, -1);
        run(done.group, -1);
      }
    }
    wait();
  };
  return Array.from({ length: rounds + 1 }, () => {
    const start = performance.now();
    for (let index = 0; index < decisions; index += 1) decide();
    return ((performance.now() - start) * 1000) / decisions;
  }).slice(1); // compiled by then
}
