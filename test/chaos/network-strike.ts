import { globSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../shared/clock.ts";
import type { FarmAgent, NetworkFarm } from "../support/network-farm.ts";
import type { SmallDisk } from "../support/small-disk.ts";
import type { Strike } from "./network-plan.ts";

/** What is struck. */
export interface Battlefield {
  readonly farm: NetworkFarm;
  /** Of the agents, in their order; undefined where nothing can be mounted. */
  readonly disks: readonly (SmallDisk | undefined)[];
}

/** Strikes as planned until `over`; resolves when all that it has harmed is whole again. */
export async function strikeAll(strikes: readonly Strike[], field: Battlefield, over: AbortSignal): Promise<void> {
  const startMs = systemClock.monotonicMs();
  const until = (ms: number) => passed(startMs + ms - systemClock.monotonicMs(), over);
  /** What is done to one thing is done in turn: a killed agent cannot be stopped. */
  const turns = new Map<string, Promise<void>>();
  for (const strike of strikes) {
    const target = /coordinator|nats/.test(strike.harm) ? strike.harm : `agent ${strike.agent}`;
    const before = turns.get(target) ?? Promise.resolve();
    turns.set(
      target,
      before.then(async () => {
        await until(strike.atMs);
        if (over.aborted) return;
        const heal = await begin(strike, field);
        await passed(strike.forMs, over);
        await heal();
      }),
    );
  }
  await Promise.all(turns.values());
}

/** Does the harm; what it gives ends it. */
async function begin(
  { harm, agent: index, share }: Strike,
  { farm, disks }: Battlefield,
): Promise<() => Promise<void>> {
  const agent = farm.agents[index];
  if (agent === undefined) throw new Error(`there is no agent ${index}`);
  const { host, grpc, nats } = agent;
  switch (harm) {
    case "kill agent":
      await agent.program().kill();
      return () => agent.start();
    case "stop agent":
      process.kill(agent.program().pid, "SIGSTOP");
      return async () => void process.kill(agent.program().pid, "SIGCONT");
    case "link down":
      host.link(false);
      return async () => host.link(true);
    case "packets vanish":
      host.drop(true);
      return async () => host.drop(false);
    case "gRPC refused":
      await grpc?.set({ isRefusing: true });
      await grpc?.reset();
      return async () => await grpc?.set({});
    case "bus half open":
      await nats?.set({ isSwallowing: true });
      return async () => await nats?.set({});
    case "delay":
      for (const proxy of [grpc, nats]) await proxy?.set({ delayMs: 10 + share * 200 });
      return async () => {
        for (const proxy of [grpc, nats]) await proxy?.set({});
      };
    case "disk full":
      disks[index]?.fill("full");
      return async () => rmSync(join(disks[index]?.dir ?? agent.data, "full"), { force: true });
    case "blob damaged":
      damage(agent, share);
      return async () => {};
    case "kill coordinator":
      await farm.coordinator().kill();
      return () => farm.startCoordinator();
    case "kill nats":
      await farm.nats().kill();
      return () => farm.startNats();
    default:
      return harm satisfies never;
  }
}

/** Changes a byte of one of the files in an agent's store. */
function damage({ data }: FarmAgent, share: number): void {
  const files = globSync("store/**/*", { cwd: data, withFileTypes: true }).filter((entry) => entry.isFile());
  const file = files[Math.floor(share * files.length)];
  if (file === undefined) return;
  const path = join(file.parentPath, file.name);
  const bytes = readFileSync(path);
  const at = Math.floor(share * bytes.byteLength);
  bytes[at] = (bytes[at] ?? 0) ^ 0xff;
  writeFileSync(path, bytes);
}

function passed(ms: number, over: AbortSignal): Promise<void> {
  if (ms <= 0 || over.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      cancel();
      over.removeEventListener("abort", done);
      resolve();
    };
    const cancel = systemClock.after(ms, done);
    over.addEventListener("abort", done);
  });
}
