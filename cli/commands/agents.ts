import { Command } from "commander";
import { type ConnectionOptions, withConnection, withConnectionOptions } from "../connection.ts";
import { processConsole } from "../output/console.ts";
import { formatAgo } from "../output/format.ts";
import { agentStateLabel, paintStatus, timeOf } from "../output/labels.ts";
import { table } from "../output/table.ts";

interface AgentsOptions extends ConnectionOptions {
  readonly json?: boolean;
}

/** `millrace agents`. */
export function agentsCommand(): Command {
  return withConnectionOptions(new Command("agents"))
    .description("List the agents of the farm, also those that were lost.")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace agents")
    .action(listAgents);
}

async function listAgents(options: AgentsOptions): Promise<void> {
  const console = processConsole();
  const { agents } = await withConnection(options, (connection) => connection.agents.listAgents({}));
  const known = agents.map((agent) => ({
    id: agent.info?.id ?? "",
    state: agentStateLabel(agent.state),
    hostname: agent.info?.hostname ?? "",
    version: agent.info?.version ?? "",
    slots: agent.info?.slots ?? 0,
    slotsUsed: agent.slotsUsed,
    labels: agent.info?.labels ?? {},
    features: agent.info?.features ?? [],
    executions: agent.executions,
    lastHeartbeatMs: timeOf(agent.lastHeartbeatTime),
  }));
  if (options.json) return console.writeJson({ agents: known });
  if (known.length === 0) return console.note("no agents have joined yet: `millrace agent` starts one");
  const nowMs = Date.now();
  const rows = known.map((agent) => [
    agent.id,
    paintStatus(console.colors, agent.state),
    `${agent.slotsUsed}/${agent.slots}`,
    agent.hostname,
    agent.version,
    Object.entries(agent.labels)
      .map(([name, value]) => `${name}=${value}`)
      .sort()
      .join(" "),
    agent.lastHeartbeatMs === undefined ? "" : formatAgo(agent.lastHeartbeatMs, nowMs),
  ]);
  await console.write(table(["AGENT", "STATE", "SLOTS", "HOST", "VERSION", "LABELS", "HEARD"], rows));
}
