import type { Cas } from "../../../shared/cas/cas.ts";
import { distinct } from "../../../shared/cas/distinct.ts";
import { digestFromMessage } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { tasksToReopen } from "./reopen.ts";
import type { ReopenTasks } from "./run-command.ts";
import type { RunState } from "./run-state.ts";

/**
 * A run that has finished may be older than what is kept of its source: whoever wants it once more hears so at once, and
 * not in an hour from a task. Only the roots of trees are looked for; a file that is gone by itself is found by its task.
 * @throws MillraceError failed_precondition, and as `reopenTasks`
 */
export async function requireInputs(
  cas: Pick<Cas, "findMissing">,
  state: RunState,
  command: ReopenTasks,
): Promise<void> {
  const roots = [...tasksToReopen(state, command).again].flatMap(({ planned }) => {
    return [planned.commandDigest, planned.inputRootDigest].flatMap((digest) =>
      digest === undefined ? [] : [digestFromMessage(digest)],
    );
  });
  const missing = await cas.findMissing(distinct(roots));
  if (missing.length === 0) return;
  const what = missing.length === 1 ? "1 tree or command" : `${missing.length} trees or commands`;
  throw new MillraceError(
    "failed_precondition",
    `${state.run} cannot be executed once more: ${what} of its tasks cannot be found in the store any more; start a new run`,
  );
}
