import { hostname } from "node:os";
import { from } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { Credentials } from "../credentials.ts";
import { type Console, progressConsole } from "../output/console.ts";
import { formatDuration } from "../output/format.ts";
import { whileShowing } from "../output/status-line.ts";

export interface Stopping {
  /** Of the farm that stops; undefined when it has not been up yet. */
  readonly farm: Credentials | undefined;
  /** Where remarks go. */
  readonly console: Pick<Console, "note">;
  /** What a person does who cannot wait. */
  readonly hurry: string;
  /** Begins to stop it, and resolves when it has stopped. */
  readonly stop: () => Promise<void>;
}

/** Stops a farm of this machine, and says at once what that waits for, and for how long at most. */
export async function stopTelling({ farm, console, hurry, stop }: Stopping): Promise<void> {
  const mostMs = limits.drainMs;
  const most = formatDuration(mostMs).replace(".0", "");
  console.note(`stopping: tasks that run have ${most} to finish; ${hurry} ends everything at once`);
  if (farm !== undefined) await tellRunning(farm, console); // before: then there is nobody to ask any more
  const startedMs = performance.now();
  const doing = () => {
    const leftMs = startedMs + mostMs - performance.now();
    return leftMs <= 0 ? "stopping" : `stopping, tasks have ${Math.ceil(leftMs / 1_000)} s left`;
  };
  await whileShowing(progressConsole(), doing, stop);
}

/** Says which tasks run on this machine: those elsewhere go on. That it is not known is said, too: the farm may be ill. */
async function tellRunning(farm: Credentials, { note }: Stopping["console"]): Promise<void> {
  try {
    // Needed for this alone, and a supervisor is kept small: the larger it is, the longer it takes to start a process.
    const [{ AgentService }, { withConnection }] = await Promise.all([
      import("../../proto/gen/millrace/v1/agent_pb.ts"),
      import("../connection.ts"),
    ]);
    const { agents } = await withConnection(farm, ({ client }) =>
      client(AgentService).listAgents({}, { timeoutMs: limits.stoppingAnswerMs }),
    );
    for (const { info, executions } of agents) {
      if (info?.hostname !== hostname()) continue;
      for (const id of executions) note(`  ${taskOf(id)} runs on ${info.id}`);
    }
  } catch (error) {
    note(`  which tasks run is not known: ${from(error).message}`);
  }
}

/** `run_1 build/app` of the execution `run_1.build.app.2`. */
function taskOf(executionId: string): string {
  const [run = executionId, stage, task] = executionId.split(".");
  return task === undefined ? executionId : `${run} ${stage}/${task}`;
}
