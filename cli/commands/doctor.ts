import { Command } from "commander";
import { AdminService } from "../../proto/gen/millrace/v1/admin_pb.ts";
import { AgentService } from "../../proto/gen/millrace/v1/agent_pb.ts";
import { systemClock } from "../../shared/clock.ts";
import { from } from "../../shared/errors.ts";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { checkFarm } from "../doctor/farm.ts";
import { type Finding, isHealthy } from "../doctor/finding.ts";
import { checkDataFolder, checkNats, checkNode } from "../doctor/machine.ts";
import { exitStatus } from "../exit-status.ts";
import { processConsole } from "../output/console.ts";
import { table } from "../output/table.ts";

interface DoctorOptions extends ConnectionOptions {
  readonly json?: boolean;
}

/** `millrace doctor`. */
export function doctorCommand(): Command {
  return withConnectionOptions(new Command("doctor"))
    .description(
      "Check this machine and the farm, in the order in which things need each other.\n0: all works; 1: something does not.",
    )
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace doctor")
    .action(doctor);
}

async function doctor(options: DoctorOptions): Promise<void> {
  const console = processConsole();
  const { env } = process;
  const findings = [
    checkNode(process.version),
    await checkNats(env),
    ...checkDataFolder(env),
    ...(await farm(options)),
  ];
  const healthy = isHealthy(findings);
  if (!healthy) process.exitCode = exitStatus.runFailed;
  if (options.json) return console.writeJson({ healthy, checks: findings });
  const { colors } = console;
  const paint = { ok: colors.green, warning: colors.yellow, failed: colors.red, skipped: colors.dim };
  const rows = findings.map(({ check, status, detail, fix }) => [
    check,
    paint[status](status),
    fix === undefined ? detail : `${detail.replaceAll(/\s+/g, " ")}; ${fix}`,
  ]);
  await console.write(table(["CHECK", "STATUS", "WHAT"], rows));
}

async function farm(options: ConnectionOptions): Promise<Finding[]> {
  try {
    return await withConnection(options, ({ address, client }) =>
      checkFarm({ address, admin: client(AdminService), agents: client(AgentService), clock: systemClock }),
    );
  } catch (error) {
    const { code, message } = from(error);
    if (code !== "failed_precondition") throw error;
    const fix = "start one with `millrace up --detach`, or give --address and --token";
    return [{ check: "coordinator", status: "failed", detail: message, fix }];
  }
}
