import { existsSync, realpathSync } from "node:fs";
import { dirname } from "node:path";
import { isSingleFile } from "../shared/single-file.ts";
import type { AgentConfig } from "./config.ts";
import type { ProcessExecutorOptions } from "./executor/process-executor.ts";
import { outermost, outOfSight } from "./runner/folders.ts";
import { canCutNetwork, chooseSandbox } from "./runner/probe-sandbox.ts";
import type { Runner } from "./runner/runner.ts";
import { taskPath } from "./tools/task-path.ts";

/** What tasks see of this machine, as it was asked for and as it is possible. */
export type Confined = Omit<ProcessExecutorOptions, "runner" | "clock">;

/**
 * Decides between which walls tasks run on this machine.
 * @param data the agent's folder, absolute and real
 * @throws MillraceError failed_precondition when the sandbox that was asked for does not work here
 */
export async function confine(
  config: Pick<AgentConfig, "sandbox" | "hide" | "tools" | "nesting">,
  runner: Pick<Runner, "start">,
  data: string,
): Promise<Confined> {
  const others = config.hide.filter((folder) => existsSync(folder)).map((folder) => realpathSync(folder));
  const hidden = outermost([data, ...others]);
  const toolFiles = config.tools.filter((tool) => tool.startsWith("/"));
  const sandbox = await chooseSandbox(config.sandbox, runner, { data, hidden });
  return {
    sandbox,
    cutsNetwork: sandbox !== "none" && (await canCutNetwork(runner, { data, hidden })),
    path: taskPath(toolFiles),
    hidden,
    nesting: config.nesting,
    readable: outOfSight(
      [...(isSingleFile() ? [] : [process.execPath]), ...toolFiles].map((file) => dirname(file)),
      hidden,
    ),
  };
}
