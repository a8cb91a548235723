import type { Cas } from "../../../shared/cas/cas.ts";
import { distinct } from "../../../shared/cas/distinct.ts";
import { digestFromMessage } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { tasksToReopen } from "./reopen.ts";
import type { ReopenTasks } from "./run-command.ts";
import type { RunState } from "./run-state.ts";
import type { TaskState } from "./task-state.ts";

/**
 * A run that has finished may be older than what is kept of its source: whoever wants it once more hears so at once, and
 * not in an hour from a task. The same for artifacts of tasks that are not executed again. Only the roots of trees are
 * looked for; a file that is gone by itself is found by its task.
 * @throws MillraceError failed_precondition, and as `reopenTasks`
 */
export async function requireInputs(
  cas: Pick<Cas, "findMissing">,
  state: RunState,
  command: ReopenTasks,
): Promise<void> {
  const { again } = tasksToReopen(state, command);
  const roots = [...again].flatMap((task) => {
    const { commandDigest, inputRootDigest } = task.planned;
    const needed = [commandDigest, inputRootDigest, ...usedArtifacts(state, task, again)];
    return needed.flatMap((digest) => (digest === undefined ? [] : [digestFromMessage(digest)]));
  });
  const missing = await cas.findMissing(distinct(roots));
  if (missing.length === 0) return;
  const what = missing.length === 1 ? "1 tree, command or artifact" : `${missing.length} trees, commands or artifacts`;
  throw new MillraceError(
    "failed_precondition",
    `${state.run} cannot be executed once more: ${what} of its tasks cannot be found in the store any more; start a new run`,
  );
}

/** What the task uses of tasks that stay as they are. */
function usedArtifacts({ tasks }: RunState, { planned }: TaskState, again: ReadonlySet<TaskState>) {
  return planned.uses.flatMap(({ task: name, artifact }) => {
    const maker = tasks.get(name);
    if (maker === undefined || again.has(maker)) return [];
    return maker.outcome?.artifacts.filter((made) => made.name === artifact).map(({ content }) => content.value) ?? [];
  });
}
