import { existsSync, globSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { expect } from "vitest";
import { DigestSchema } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { AgentState } from "../../proto/gen/millrace/v1/agent_pb.ts";
import { type Event, RunStatus, TaskStatus } from "../../proto/gen/millrace/v1/event_pb.ts";
import { digestFromMessage, digestKey, digestOf } from "../../shared/digest.ts";
import type { FarmAgent, NetworkFarm } from "../support/network-farm.ts";
import { processesAbout } from "../support/process-state.ts";
import type { AttemptLog, Services } from "./follow.ts";
import { artifactOf, outputOf } from "./network-pipeline.ts";
import type { NetworkRound, PlannedWork } from "./network-plan.ts";

/** All that is known of a round's run after its end. Logs by `stage/task#attempt`. */
export interface NetworkOutcome {
  readonly run: string;
  readonly events: readonly Event[];
  readonly stored: ReadonlyMap<string, AttemptLog>;
  /** What the agents' runners wrote down before they started a process. */
  readonly starts: readonly ProcessStart[];
}

/** A line of an agent's `process-starts.log`. */
export interface ProcessStart {
  readonly agent: string;
  /** `execution#attempt`. */
  readonly attempt: string;
  readonly line: string;
}

/** What must hold of every run, whatever was done to the farm meanwhile. */
export function checkNetworkRun(round: NetworkRound, { events, stored, starts }: NetworkOutcome): void {
  const { tasks } = round;
  const last = events.at(-1)?.kind;
  const finished = events.flatMap(({ kind }) => (kind.case === "taskFinished" ? [kind.value] : []));
  const unwell = finished.filter(({ status }) => status !== TaskStatus.SUCCEEDED);
  expect(
    unwell.map(({ task, ending }) => `${task}: ${ending?.detail}`),
    "no task is lost",
  ).toEqual([]);
  expect(last?.case === "runFinished" && last.value.status, "the run ends right").toBe(RunStatus.SUCCEEDED);
  expect(finished.map(({ task }) => task).sort(), "each task finishes once").toEqual(
    tasks.map(({ name }) => `work/${name}`).sort(),
  );
  const all = new Map(tasks.map((work) => [work.name, work]));
  for (const work of tasks) {
    const task = `work/${work.name}`;
    const started = events.flatMap(({ kind }) =>
      kind.case === "taskStarted" && kind.value.task === task ? [kind.value.attempt] : [],
    );
    expect(started, `attempts of ${task} are started once each, in order`).toEqual(
      [...new Set(started)].sort((a, b) => a - b),
    );
    const end = finished.find((one) => one.task === task);
    const output = outputOf(work);
    expect(digestKey(digestFromMessage(end?.logDigest ?? create(DigestSchema))), `the log of ${task}`).toBe(
      digestKey(digestOf(Buffer.from(output))),
    );
    const { value } = end?.artifacts[0]?.content ?? {};
    const made = digestOf(Buffer.from(artifactOf(work, all)));
    expect(digestKey(digestFromMessage(value ?? create(DigestSchema))), `what ${task} made`).toBe(digestKey(made));
    checkLogs(round, { work, events, stored, starts });
  }
  checkProcessStarts(starts);
}

interface LoggedWork extends Pick<NetworkOutcome, "events" | "stored" | "starts"> {
  readonly work: PlannedWork;
}

/** Each attempt's log, once it has ended. */
function checkLogs({ strikes }: NetworkRound, { work, events, stored, starts: processes }: LoggedWork): void {
  const output = outputOf(work);
  const starts = events.flatMap(({ kind }) =>
    kind.case === "taskStarted" && kind.value.task === `work/${work.name}` ? [kind.value] : [],
  );
  for (const { task, attempt, agent, executionId } of starts) {
    const log = stored.get(`${task}#${attempt}`) ?? { text: "", ends: 0, gap: false };
    const where = `${task}#${attempt} of ${starts.length}: ${log.text.length} of ${output.length} bytes, ${log.gap}`;
    expect(log.ends, `a log has one end: ${where}`).toBe(1);
    if (attempt === starts.at(-1)?.attempt) {
      expect([log.text, log.gap], `the last log is whole: ${where}`).toEqual([output, false]);
      continue;
    }
    // What a task prints that cannot write, or could not even begin, is for it to say.
    if (strikes.some((strike) => strike.harm === "disk full" && agent === `agent-${strike.agent + 1}`)) continue;
    expect(output.startsWith(log.text), `a log is a prefix: ${where}`).toBe(true);
    // Its inputs could not be had there: what never began says nothing, and all of it is in the log.
    const isBegun = processes.some((start) => start.attempt === `${executionId}#${attempt}`);
    if (!isBegun && log.text === "") continue;
    expect(log.gap || log.text === output, `a log is whole or says that it may not be: ${where}`).toBe(true);
  }
}

/** What must hold once all is whole again: nobody holds anything, and nothing is left behind. Throws until it does. */
export async function checkNothingLeft(round: NetworkRound, farm: NetworkFarm, services: Services): Promise<void> {
  const { agents } = await services.agents.listAgents({});
  expect(new Map(agents.map(({ info, state, executions }) => [info?.id, { state, executions }]))).toEqual(
    new Map(farm.agents.map(({ name }) => [name, { state: AgentState.ONLINE, executions: [] }])),
  );
  expect(processesAbout(round.nonce).map(({ command }) => command)).toEqual([]);
  expect(farm.agents.map(leftoversOf)).toEqual(farm.agents.map(() => []));
}

function leftoversOf({ data }: FarmAgent): string[] {
  return ["work", "spool", "leftovers"].flatMap((folder) => {
    const path = join(data, folder);
    return existsSync(path) ? readdirSync(path).map((name) => `${folder}/${name}`) : [];
  });
}

/** No attempt was begun twice. */
function checkProcessStarts(starts: readonly ProcessStart[]): void {
  expect(starts.length).toBeGreaterThan(0);
  const twice = starts.filter(({ attempt }) => starts.filter((other) => other.attempt === attempt).length > 1);
  expect(twice.map(({ agent, line }) => `${agent}: ${line}`)).toEqual([]);
}

/** Of all agents, those of a run. */
export function processStarts(farm: NetworkFarm, run: string): ProcessStart[] {
  return farm.agents.flatMap(({ name, data }) =>
    globSync("process-starts.log*", { cwd: data })
      .flatMap((file) => readFileSync(join(data, file), "utf8").split("\n"))
      .filter((line) => line.split(" ")[1]?.startsWith(`${run}.`))
      .map((line) => ({ agent: name, line, attempt: line.split(" ").slice(1, 3).join("#") })),
  );
}
