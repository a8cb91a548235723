import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Client, createClient } from "@connectrpc/connect";
import type { Event } from "../proto/gen/millrace/v1/event_pb.ts";
import { LogService } from "../proto/gen/millrace/v1/log_pb.ts";
import { RunService } from "../proto/gen/millrace/v1/run_pb.ts";
import { type ClosableTransport, grpcTransport } from "../shared/rpc/grpc-transport.ts";
import { type FarmOptions, type RunResult, startFarm, type TestFarm } from "../test/support/farm.ts";
import { must } from "./bench.ts";

/** How tasks are confined; see the glossary. */
export type Sandbox = "none" | "bubblewrap";

/** A real farm of `millrace up`, a connection to it, and a folder for the bench. */
export interface BenchFarm extends TestFarm {
  readonly transport: ClosableTransport;
  readonly runs: Client<typeof RunService>;
  readonly logs: Client<typeof LogService>;
  /** Empty at first; gone afterwards. */
  readonly scratch: string;
}

/** Starts a farm for one use and leaves nothing of it. */
export async function withFarm<T>(
  { sandbox, ...options }: FarmOptions & { readonly sandbox?: Sandbox },
  use: (farm: BenchFarm) => Promise<T>,
): Promise<T> {
  const farm = await startFarm({ ...options, env: sandbox === undefined ? {} : { MILLRACE_SANDBOX: sandbox } });
  const scratch = mkdtempSync(join(tmpdir(), "millrace-bench-"));
  const transport = grpcTransport({ address: farm.grpc, token: farm.token });
  const services = { runs: createClient(RunService, transport), logs: createClient(LogService, transport) };
  try {
    return await use({ ...farm, ...services, transport, scratch });
  } finally {
    transport.close();
    await farm.remove();
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Writes the files of a project, by path. */
export function writeProject(dir: string, files: Readonly<Record<string, string>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), content);
  }
}

/** The pipeline file of one stage with these tasks, each given as the text after its name. */
export function pipelineOf(name: string, tasks: Readonly<Record<string, string>>): string {
  const lines = Object.entries(tasks).map(([task, text]) => `      ${task}: ${text}`);
  return ["name: " + name, "stages:", "  s:", "    tasks:", ...lines, ""].join("\n");
}

/** That all tasks succeeded, were executed or came from the cache as expected, and at which sandbox level they ran. */
export function checkRun(result: RunResult, expected: { readonly tasks: number; readonly cached: boolean }): void {
  const { run, status, tasks } = result;
  must(status === "succeeded", `${run} ${status}`);
  must(tasks.length === expected.tasks, `${run} has ${tasks.length} tasks and not ${expected.tasks}`);
  const other = tasks.find((task) => task.status !== "succeeded" || task.cached !== expected.cached);
  must(other === undefined, `${run}: ${other?.name} ${other?.status}, cached ${other?.cached}`);
}

/** The level at which every task of the run ran. */
export function sandboxOf({ run, tasks }: RunResult): string {
  const levels = [...new Set(tasks.map(({ sandbox }) => sandbox ?? "unknown"))];
  must(levels.length === 1, `${run} ran at the levels ${levels.join(", ")}`);
  return levels[0] ?? "unknown";
}

/** All events of a finished run. */
export async function eventsOf({ runs }: Pick<BenchFarm, "runs">, run: string): Promise<Event[]> {
  const events: Event[] = [];
  for await (const { event } of runs.watchRun({ run })) if (event !== undefined) events.push(event);
  return events;
}

/** On the coordinator's clock. */
export function eventTimeMs({ time }: Event): number {
  return time === undefined ? Number.NaN : timestampMs(time);
}

/** When the runners started the process of each execution, on their machine's clock, by execution id. */
export function processStartsMs(farm: Pick<TestFarm, "processStarts">): Map<string, number> {
  return new Map(
    farm.processStarts().map((line) => {
      const [time = "", execution = ""] = line.split(" ");
      return [execution, Date.parse(time)];
    }),
  );
}
