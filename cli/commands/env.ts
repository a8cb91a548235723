import { Command } from "commander";
import {
  type Environment,
  type EnvironmentApp,
  EnvironmentService,
} from "../../proto/gen/millrace/v1/environment_pb.ts";
import { MillraceError } from "../../shared/errors.ts";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { type Console, processConsole } from "../output/console.ts";
import { formatAgo } from "../output/format.ts";
import { isoTime, paintStatus, timeOf } from "../output/labels.ts";
import { table } from "../output/table.ts";

interface EnvOptions extends ConnectionOptions {
  readonly json?: boolean;
}

/** `millrace env`. */
export function envCommand(): Command {
  const show = withConnectionOptions(new Command("show"))
    .description("Show what stands in an environment: releases, since when, by which run, whether they are healthy.")
    .argument("<environment>", "its name, as in the pipeline file")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace env show local")
    .action(showEnvironment);
  return new Command("env").description("Look at environments.").addCommand(show);
}

async function showEnvironment(name: string, options: EnvOptions): Promise<void> {
  const console = processConsole();
  const { environment } = await withConnection(options, (connection) =>
    connection.client(EnvironmentService).getEnvironment({ environment: name }),
  );
  if (environment === undefined) throw new MillraceError("internal", `the coordinator answered without ${name}`);
  if (options.json) return console.writeJson(environmentJson(environment));
  await console.write(describe(console, environment, Date.now()));
}

function describe({ colors }: Console, environment: Environment, nowMs: number): string {
  const head = `${colors.bold(environment.name)}  ${colors.dim(`on ${environment.agent}`)}\n`;
  if (environment.apps.length === 0) return `${head}nothing has been deployed here yet\n`;
  const rows = environment.apps.map((app) => {
    const sinceMs = timeOf(app.since);
    return [
      app.app,
      app.current?.hash.slice(0, 12) ?? "none",
      sinceMs === undefined ? "" : formatAgo(sinceMs, nowMs),
      app.run,
      paintStatus(colors, app.healthy ? "succeeded" : "failed", health(app)),
      remark(app),
    ];
  });
  return `${head}\n${table(["APP", "RELEASE", "SINCE", "BY", "HEALTH", ""], rows)}`;
}

function health({ current, healthy }: EnvironmentApp): string {
  if (current === undefined) return "not there";
  return healthy ? "healthy" : "not healthy";
}

/** What the last deployment tried in vain. */
function remark({ last, lastRun }: EnvironmentApp): string {
  if (last?.wentBack !== true) return "";
  return `${lastRun} failed to deploy ${last.release?.hash.slice(0, 12) ?? "a release"} and went back`;
}

/** Field names are a promise to scripts. */
function environmentJson({ name, agent, apps }: Environment) {
  return {
    environment: name,
    agent,
    apps: apps.map(({ app, current, since, run, healthy, last, lastRun }) => ({
      app,
      release: current === undefined ? null : `${current.hash}/${current.sizeBytes}`,
      since: isoTime(since),
      run,
      healthy,
      last:
        last === undefined
          ? null
          : {
              run: lastRun,
              release: last.release === undefined ? null : `${last.release.hash}/${last.release.sizeBytes}`,
              wentBack: last.wentBack,
              movedBytes: Number(last.movedBytes),
              probeAnswer: last.probeAnswer,
            },
    })),
  };
}
