import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { expect, onTestFinished } from "vitest";
import type { DeployStep } from "../../../agent/operations/deploy-state.ts";
import { exitOf } from "../../support/exit-of.ts";
import { freePort } from "../../support/free-port.ts";
import { processesAbout } from "../../support/process-state.ts";
import { tempDir } from "../../support/temp-dir.ts";
import type { ActionSpec } from "./assignment.ts";
import { type AgentProcess, type FakeFarm, fakeFarm, startAgent } from "./farm.ts";

const mortalAgent = fileURLToPath(new URL("./fixtures/mortal-agent.ts", import.meta.url));

/** One machine whose agent comes and goes, and a service on it. */
export interface Host {
  readonly farm: FakeFarm;
  readonly data: string;
  /** The agent's program; ended after the test with all units. */
  agent(): Promise<AgentProcess>;
  /** The same agent, which is killed at the step that `dieAt` names. Resolves when it has joined. */
  mortalAgent(): Promise<ChildProcess>;
  /** The agent is killed when it has this step in its journal next. */
  dieAt(step: DeployStep): void;
  /** What a release does: serve its version, or fail its probe. */
  release(version: string, health?: "good" | "bad" | "crashing"): ActionSpec;
  /** The version that is served now. */
  served(): Promise<string>;
  /** The hash that `current` points at. */
  current(): string;
  /** Processes of the service. */
  processes(): string[];
}

/** Of the host's agent. */
export const id = "agent-host";

/** A machine of this test's own; its agent's lease for host operations is 30 s if not said otherwise. */
export async function host(options: Parameters<typeof fakeFarm>[0] = {}): Promise<Host> {
  const farm = await fakeFarm(options);
  const dir = tempDir();
  const data = join(dir, "agent");
  const port = await freePort();
  // The name of its script tells the service's processes from all others.
  const script = `serve-${port}.mjs`;
  const due = join(dir, "due");
  onTestFinished(async () => {
    // An agent that has a supervisor takes the units with it when it ends. Here the one that ran last has ended already.
    if (processesAbout(script).length > 0) await ended(await startAgent(farm, { id, data, channel: true }));
    expect(processesAbout(script)).toEqual([]);
  });
  return {
    farm,
    data,
    agent: () => startAgent(farm, { id, data, channel: true }),
    async mortalAgent() {
      const child = spawn(process.execPath, [mortalAgent, farm.address, data, id, due], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      onTestFinished(async () => {
        if (child.exitCode === null && child.signalCode === null) await ended({ child });
      });
      await once(child.stdout, "data");
      return child;
    },
    dieAt: (step) => writeFileSync(due, step),
    release(version, health = "good") {
      const body = health === "crashing" ? "process.exit(7)" : serve(port, version, health === "good" ? 200 : 503);
      return {
        command: ["/bin/sh", "-e", "-c", `node ${script}`],
        inputs: { [script]: body, "lib/version.txt": version },
        environment: { VERSION: version },
        operation: {
          kind: {
            case: "deploy",
            value: {
              environment: "local",
              app: "app",
              probe: {
                url: `http://127.0.0.1:${port}/health`,
                timeout: durationFromMs(health === "good" ? 20_000 : 1_500),
              },
            },
          },
        },
      };
    },
    served: async () => await (await fetch(`http://127.0.0.1:${port}/`)).text(),
    current: () => readlinkSync(join(data, "environments/local/app/current")).replace("releases/", ""),
    processes: () => processesAbout(script).flatMap(({ command }) => (command.startsWith("node") ? [command] : [])),
  };
}

function serve(port: number, version: string, health: number): string {
  return `import { createServer } from "node:http";
createServer((request, response) => {
  if (request.url === "/health") response.writeHead(${health});
  response.end(request.url === "/health" ? "${health === 200 ? "fine" : "no database"}" : "${version}");
}).listen(${port}, "127.0.0.1");`;
}

/** SIGTERM, resolved when it is gone. */
async function ended({ child }: Pick<AgentProcess, "child">): Promise<void> {
  child.kill("SIGTERM");
  await exitOf(child);
}

/** kill -9, resolved when it is gone. */
export async function killed(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await exitOf(child);
}

/** Has a release deployed; resolves with the report. */
export async function deployed(on: Host, name: string, spec: ActionSpec) {
  expect((await on.farm.assign(id, name, spec)).refusal).toBe("");
  return await on.farm.report(name);
}

/** The same deployment, probed for so long. */
export function probedFor(spec: ActionSpec, timeoutMs: number): ActionSpec {
  const kind = spec.operation?.kind;
  if (kind?.case === "deploy" && kind.value.probe !== undefined) kind.value.probe.timeout = durationFromMs(timeoutMs);
  return spec;
}
