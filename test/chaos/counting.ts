import { statSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, vi } from "vitest";
import type { FarmAgent, NetworkFarm } from "../support/network-farm.ts";
import { submitText } from "../support/runs.ts";
import { type AttemptLog, connect, followRun } from "./follow.ts";

/** For what the product does in seconds. */
export const patience = { timeout: 60_000, interval: 20 };

/** What a task of `counting` prints. */
export const whole = (lines: number) => Array.from({ length: lines }, (_, index) => `${index + 1}\n`).join("");

/** A pipeline whose one task prints its numbers at 20 lines a second, then leaves a stamp that is unlike in each attempt. */
export function counting(lines: number, more = ""): string {
  const run = `i=0; while [ $i -lt ${lines} ]; do i=$((i+1)); echo $i; sleep 0.05; done; date +%s%N > stamp`;
  return `name: lonely
stages: { work: { tasks: { count: { run: "${run}", outputs: { stamp: stamp }, cache: false${more} } } } }
`;
}

/** A task `count` that runs on one of the agents, and what is known of it. */
export interface Running {
  readonly run: string;
  /** Its events so far, in short; see follow.ts. */
  readonly names: readonly string[];
  /** The one that has it. */
  readonly agent: FarmAgent;
  /** Resolves when its first attempt has printed so many lines on its agent's disk. */
  printed(lines: number): Promise<void>;
  until(event: string): Promise<void>;
  /** Resolves with the logs when the run and all logs have ended. */
  end(): Promise<Map<string, AttemptLog>>;
}

/** Submits the pipeline and waits until an agent has its task `count`. */
export async function startCount(farm: NetworkFarm, text: string): Promise<Running> {
  const services = connect(farm);
  const leaving = new AbortController();
  onTestFinished(() => {
    leaving.abort();
    services.close();
  });
  const run = await submitText(services, text);
  const names: string[] = [];
  const followed = followRun(services, { run, signal: leaving.signal, names });
  const until = (event: string) => vi.waitFor(() => expect(names).toContain(event), patience);
  await until("taskStarted count #1");
  const spoolOf = ({ data }: FarmAgent) => join(data, "spool", `${run}.work.count.1`);
  const sizeOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? -1;
  const agent = await vi.waitUntil(() => farm.agents.find((one) => sizeOf(spoolOf(one)) >= 0), patience);
  return {
    ...{ run, names, agent, until },
    printed: (lines) =>
      vi.waitFor(() => expect(sizeOf(spoolOf(agent))).toBeGreaterThanOrEqual(whole(lines).length), patience),
    async end() {
      await followed.events;
      return await followed.log;
    },
  };
}

/** The second attempt counts, the first is refused; its log is complete, or says that it may not be. */
export async function expectSecondCounts(running: Running, lines: number): Promise<void> {
  const { names, agent, run } = running;
  const logs = await running.end();
  expect(names.filter((name) => name.startsWith("taskFinished"))).toEqual(["taskFinished count"]);
  expect(names).toContain("taskStarted count #2");
  expect(names).not.toContain("taskStarted count #3");
  expect(logs.get("work/count#2")).toEqual({ text: whole(lines), ends: 1, gap: false });
  const first = logs.get("work/count#1") ?? { text: "-", ends: 0, gap: false };
  expect(whole(lines).startsWith(first.text)).toBe(true);
  expect(first).toMatchObject({ ends: 1, gap: first.gap || first.text !== whole(lines) });
  const late = `the report on ${run}.work.count, attempt 1, came too late`;
  await vi.waitFor(() => expect(agent.program().said()).toContain(late), patience);
}
