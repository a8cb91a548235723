import { MillraceError } from "../../shared/errors.ts";
import { toolOfProperty } from "../../shared/pipeline/tool-property.ts";
import type { Tools } from "../tools/tools.ts";
import type { Executor, ReadTask } from "./executor.ts";

/**
 * Makes sure that a task ran with just the tools that its key names: they may be replaced between the agent's last look
 * and the task's start, and while it runs. Such an attempt is the farm's failure; its result would poison the cache.
 */
export function toolCheckingExecutor<Task extends ReadTask>(
  base: Executor<Task>,
  tools: Pick<Tools, "isCurrent">,
): Executor<Task> {
  function check(task: ReadTask, when: string): void {
    for (const { name, value } of task.action.platform?.properties ?? []) {
      const tool = toolOfProperty(name);
      if (tool === undefined || tools.isCurrent(tool, value)) continue;
      throw new MillraceError("unavailable", `${tool} ${value}, which the task asks for, was replaced ${when}`);
    }
  }

  return {
    async execute(task, stop) {
      check(task, "before it began");
      const done = await base.execute(task, stop);
      check(task, "while it ran");
      return done;
    },
  };
}
