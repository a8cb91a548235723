import { Command } from "commander";
import { AgentService, type DiskSpace, type FailedUpgrade } from "../../proto/gen/millrace/v1/agent_pb.ts";
import { formatBytes } from "../../shared/format-bytes.ts";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { type Colors, processConsole } from "../output/console.ts";
import { formatAgo } from "../output/format.ts";
import { agentStateLabel, isoTime, paintStatus } from "../output/labels.ts";
import { table } from "../output/table.ts";

interface AgentsOptions extends ConnectionOptions {
  readonly json?: boolean;
}

interface RemoveOptions extends AgentsOptions {
  readonly force?: boolean;
}

/** `millrace agents`. */
export function agentsCommand(): Command {
  const command = withConnectionOptions(new Command("agents"))
    .description(
      "List the agents of the farm, also those that were lost or never joined; or drain, resume and remove one.",
    )
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExamples:\n  $ millrace agents\n  $ millrace agents drain agent-2")
    .action(listAgents);
  const steer = (name: string, description: string) =>
    withConnectionOptions(command.command(name))
      .description(description)
      .argument("<id>", "the agent")
      .option("--json", "print one JSON object");
  // An option that the list has, too, is taken by the list: hence with globals.
  steer("drain", "Let it finish what it has and give it nothing new, also after restarts, until it is resumed.")
    .addHelpText("after", "\nExample:\n  $ millrace agents drain agent-2")
    .action((id: string, _options: unknown, self: Command) => drainAgent(id, true, self.optsWithGlobals()));
  steer("resume", "Give it work again.")
    .addHelpText("after", "\nExample:\n  $ millrace agents resume agent-2")
    .action((id: string, _options: unknown, self: Command) => drainAgent(id, false, self.optsWithGlobals()));
  steer("remove", "Forget an agent and refuse its keys; to come back it needs a new token.")
    .option("--force", "also when it holds work, which is then placed anew")
    .addHelpText("after", "\nExample:\n  $ millrace agents remove agent-2")
    .action((id: string, _options: unknown, self: Command) => removeAgent(id, self.optsWithGlobals()));
  return command;
}

async function drainAgent(id: string, draining: boolean, options: AgentsOptions): Promise<void> {
  const console = processConsole();
  const { agent } = await withConnection(options, ({ client }) =>
    client(AgentService).setAgentDraining({ id, draining }),
  );
  const executions = agent?.executions ?? [];
  if (options.json) return console.writeJson({ id, draining, executions });
  if (!draining) return console.note(`${id} is given work again`);
  console.note(
    `${id} takes nothing new and ${executions.length === 0 ? "holds nothing" : `finishes ${executions.join(", ")}`}`,
  );
}

async function removeAgent(id: string, options: RemoveOptions): Promise<void> {
  const console = processConsole();
  await withConnection(options, ({ client }) =>
    client(AgentService).removeAgent({ id, force: options.force === true }),
  );
  if (options.json) return console.writeJson({ removed: id });
  console.note(`${id} is removed`);
}

async function listAgents(options: AgentsOptions): Promise<void> {
  const console = processConsole();
  const { agents } = await withConnection(options, ({ client }) => client(AgentService).listAgents({}));
  const known = agents.map((agent) => ({
    id: agent.info?.id ?? "",
    state: agentStateLabel(agent.state),
    hostname: agent.info?.hostname ?? "",
    version: agent.info?.version ?? "",
    slots: agent.info?.slots ?? 0,
    slotsUsed: agent.slotsUsed,
    labels: agent.info?.labels ?? {},
    features: agent.info?.features ?? [],
    tools: (agent.info?.tools ?? []).map(({ name, version, fingerprint, path }) => ({
      name,
      version,
      fingerprint,
      path,
    })),
    executions: agent.executions,
    disk: diskOf(agent.disk),
    failedUpgrade: failedUpgradeOf(agent.info?.failedUpgrade),
    lastHeartbeatTime: isoTime(agent.lastHeartbeatTime),
    pool: agent.info?.labels.pool ?? "",
    enrolTime: isoTime(agent.enrolTime),
    ephemeral: agent.ephemeral || agent.info?.ephemeral === true,
  }));
  if (options.json) return console.writeJson({ agents: known });
  if (known.length === 0) return console.note("no agents have joined yet: `millrace agent` starts one");
  const nowMs = Date.now();
  const ago = (time: string | undefined) => (time === undefined ? "" : formatAgo(Date.parse(time), nowMs));
  const rows = known.map((agent) => [
    agent.id,
    paintStatus(console.colors, agent.state),
    agent.pool,
    `${agent.slotsUsed}/${agent.slots}`,
    agent.hostname,
    agent.failedUpgrade === undefined
      ? agent.version
      : `${agent.version}, ${console.colors.yellow(`not ${agent.failedUpgrade.version}`)}`,
    Object.entries(agent.labels)
      .filter(([name]) => name !== "pool")
      .map(([name, value]) => `${name}=${value}`)
      .sort()
      .join(" "),
    describeDisk(console.colors, agent.disk),
    ago(agent.enrolTime),
    ago(agent.lastHeartbeatTime),
  ]);
  for (const { id, version, failedUpgrade } of known) {
    if (failedUpgrade === undefined) continue;
    console.note(`${id} stays with ${version}; upgrading to ${failedUpgrade.version} failed: ${failedUpgrade.reason}`);
  }
  const heading = ["AGENT", "STATE", "POOL", "SLOTS", "HOST", "VERSION", "LABELS", "FREE DISK", "ENROLLED", "HEARD"];
  await console.write(table(heading, rows));
}

function failedUpgradeOf(failed: FailedUpgrade | undefined) {
  if (failed === undefined) return undefined;
  const { version, sha256, reason, time } = failed;
  return { version, sha256, reason, time: isoTime(time) };
}

function diskOf(disk: DiskSpace | undefined) {
  if (disk === undefined) return undefined;
  const { folder, freeBytes, sizeBytes, floorBytes } = disk;
  return { folder, freeBytes: Number(freeBytes), sizeBytes: Number(sizeBytes), isLow: freeBytes < floorBytes };
}

function describeDisk(colors: Colors, disk: ReturnType<typeof diskOf>): string {
  if (disk === undefined) return "";
  const free = formatBytes(disk.freeBytes);
  return disk.isLow ? colors.yellow(`${free}, low`) : free;
}
