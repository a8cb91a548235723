import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { type Event, RunStatus, TaskStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { KeptRuns } from "../../delivery/run/runs.ts";
import type { AgentRegistry } from "../../farm/agents/agent-registry.ts";
import type { SchedulerStats } from "../../farm/scheduler/scheduler.ts";
import type { CallObserver } from "../guard.ts";
import type { HttpPage } from "./http-server.ts";

/** What can be read at any moment, at the time of a scrape. */
export interface MetricsSources {
  readonly scheduler: () => SchedulerStats;
  readonly agents: Pick<AgentRegistry, "list">;
  /** Those that have not finished. */
  readonly runs: KeptRuns["active"];
}

/** The page of metrics and the places that feed it. */
export interface Metrics {
  readonly page: HttpPage;
  readonly calls: CallObserver;
  onEvent(event: Event): void;
}

/** Prometheus metrics. A new one is declared here and nowhere else. */
export function metrics(sources: MetricsSources): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: "millrace_executions",
    help: "Executions by state: queued (waiting for an agent) or running.",
    labelNames: ["state"],
    registers,
    collect() {
      const { queued, running } = sources.scheduler();
      this.set({ state: "queued" }, queued);
      this.set({ state: "running" }, running);
    },
  });
  new Gauge({
    name: "millrace_agents",
    help: "Agents by state.",
    labelNames: ["state"],
    registers,
    collect() {
      for (const [state, label] of agentStates) {
        this.set({ state: label }, sources.agents.list().filter((agent) => agent.state === state).length);
      }
    },
  });
  new Gauge({
    name: "millrace_runs",
    help: "Runs that have not finished by state: running, or paused until somebody resumes them.",
    labelNames: ["state"],
    registers,
    collect() {
      const unfinished = sources.runs();
      const paused = unfinished.filter(({ pause }) => pause !== undefined).length;
      this.set({ state: "running" }, unfinished.length - paused);
      this.set({ state: "paused" }, paused);
    },
  });
  const runs = new Counter({
    name: "millrace_runs_total",
    help: "Ends of runs; a run that is re-run ends once more.",
    labelNames: ["status"],
    registers,
  });
  const tasks = new Counter({
    name: "millrace_tasks_total",
    help: "Ends of tasks, skipped ones among them; cached says whether the action cache answered.",
    labelNames: ["status", "cached"],
    registers,
  });
  const retries = new Counter({
    name: "millrace_task_retries_total",
    help: "Tasks that failed by themselves and were given another try by their policy.",
    registers,
  });
  const calls = new Histogram({
    name: "millrace_rpc_seconds",
    help: "Calls by method and outcome code; for streams, their whole life.",
    labelNames: ["method", "code"],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60],
    registers,
  });
  return {
    page: {
      path: "/metrics",
      async respond(_request, response) {
        const text = await registry.metrics();
        response.writeHead(200, { "content-type": registry.contentType }).end(text);
      },
    },
    calls: { ended: ({ method, code, seconds }) => calls.observe({ method, code }, seconds) },
    onEvent({ kind }) {
      if (kind.case === "runFinished") runs.inc({ status: label(RunStatus, kind.value.status) });
      else if (kind.case === "taskRetried") retries.inc();
      else if (kind.case === "taskFinished") {
        tasks.inc({ status: label(TaskStatus, kind.value.status), cached: String(kind.value.cached) });
      } else if (kind.case === "taskSkipped") {
        tasks.inc({ status: label(TaskStatus, TaskStatus.SKIPPED), cached: "false" });
      }
    },
  };
}

const agentStates = [
  [AgentState.ONLINE, "online"],
  [AgentState.DRAINING, "draining"],
  [AgentState.LOST, "lost"],
] as const;

/** `SUCCEEDED` → `succeeded`. */
function label(names: Readonly<Record<string, number>>, value: number): string {
  const name = Object.keys(names).find((key) => names[key] === value);
  return (name ?? String(value)).toLowerCase();
}
