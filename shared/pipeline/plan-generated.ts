import type { PlannedTask } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Blob } from "../cas/cas.ts";
import { limits } from "../limits.ts";
import type { TreeEntry } from "../merkle/tree-entry.ts";
import { placeOf } from "./format-problem.ts";
import { withGenerated } from "./generated-source.ts";
import type { ReadFile } from "./includes.ts";
import type { Located } from "./located.ts";
import { locatedReport } from "./located-report.ts";
import { parsePipeline } from "./parse.ts";
import type { Problem, Task } from "./pipeline.ts";
import { planRun } from "./plan.ts";
import type { PlanContext } from "./plan-context.ts";
import type { ToolOffer } from "./resolve-tools.ts";
import { taskId } from "./select-tasks.ts";
import { readYaml } from "./yaml-source.ts";

export interface GeneratedRequest {
  /** What the task wrote: `tasks:` as in its stage. */
  readonly text: string;
  /** The task that wrote it. */
  readonly by: PlannedTask;
  /** 1 for a task of the pipeline file, 2 for one that such a task wrote, and so on. */
  readonly level: number;
  /** All other tasks of the run, without those that this task wrote before. */
  readonly present: readonly PlannedTask[];
  /** Those of them that do not stand in the pipeline file. */
  readonly before: readonly PlannedTask[];
  readonly pipeline: { readonly text: string; readonly file: string; readonly readFile?: ReadFile };
  readonly context: PlanContext;
  /** Files, symlinks and empty directories of the source tree. */
  readonly source: readonly TreeEntry[];
  readonly offers: readonly ToolOffer[];
}

/** What a task adds to its run. With problems there is nothing else in it. */
export interface GeneratedPlan {
  /** Each needs the task that wrote it. */
  readonly tasks: readonly PlannedTask[];
  readonly blobs: readonly Blob[];
  readonly problems: readonly Problem[];
}

/**
 * Plans the tasks that a task wrote, by the rules of the pipeline file and together with it: its defaults hold, and what they
 * need or use must be there. The text may come from anybody who can change the source, so it is bounded like a pipeline file.
 * Pure: the same values always give the same plan.
 */
export function planGenerated(request: GeneratedRequest): GeneratedPlan {
  const { text, by, pipeline, before, context, source, offers } = request;
  const file = `${by.generates} of ${taskId(by)}`;
  if (text.trim() === "") return { tasks: [], blobs: [], problems: [] };
  const { top: written, problems: inFile } = readYaml(text, file);
  const found = inFile.map((problem): Problem => ({ file, ...problem }));
  if (written === undefined) return failed(found);
  const report = locatedReport(pipeline.file);
  const extend = (top: Located) => withGenerated(top, { stage: by.stage, written, before, report });
  const { file: mainFile, text: mainText, ...reading } = pipeline;
  const parsed = parsePipeline(mainText, mainFile, { ...reading, context, extend });
  found.push(...report.problems(), ...parsed.problems);
  if (parsed.pipeline === undefined || found.length > 0) return failed(found);

  const isNew = ({ position }: Task) => position.file === file;
  const plan = planRun({ pipeline: parsed.pipeline, source, offers, stages: [], tasks: [], only: isNew });
  if (plan.problems.length > 0) return failed(plan.problems);
  const all = parsed.pipeline.stages.flatMap((stage) => stage.tasks).filter(isNew);
  const problems = fitProblems(request, file, plan.tasks, all);
  if (problems.length > 0) return failed(problems);
  const withWriter = plan.tasks.map((task) => ({ ...task, needs: [...new Set([...task.needs, taskId(by)])] }));
  return { tasks: withWriter, blobs: plan.blobs, problems: [] };
}

function failed(problems: readonly Problem[]): GeneratedPlan {
  const distinct = new Map(problems.map((one) => [`${placeOf(one)}:${one.message}`, one]));
  return { tasks: [], blobs: [], problems: [...distinct.values()].slice(0, limits.pipelineProblems) };
}

/** What would not fit into the run as it is. */
function fitProblems(
  { by, level, present }: GeneratedRequest,
  file: string,
  planned: readonly PlannedTask[],
  tasks: readonly Task[],
): Problem[] {
  const there = new Map(present.map((task) => [taskId(task), task]));
  const names = new Set(planned.map(taskId));
  const positions = new Map(tasks.map((task) => [taskId(task), task.position]));
  const problems: Problem[] = [];
  const report = (task: string, message: string, hint: string) => {
    const { line, column } = positions.get(task) ?? { line: 1, column: 1 };
    problems.push({ file, line, column, message, hint });
  };
  for (const task of planned) {
    const id = taskId(task);
    if (there.has(id)) report(id, `the run has a task ${id} already`, "give it another name");
    if (task.generates !== "" && level >= limits.generatedLevels) {
      const message = `${id} would generate tasks at level ${level + 1}; at most ${limits.generatedLevels} are possible`;
      report(id, message, "let an earlier task generate them");
    }
    for (const need of task.needs) {
      if (need === taskId(by) || names.has(need)) continue;
      const needed = there.get(need);
      if (needed === undefined) report(id, `it needs ${need}, which is not part of this run`, "run all of its stage");
      else if (needed.always && needed.stage === by.stage) {
        report(id, `it needs ${need}, which runs after all others of its stage`, "remove this need");
      }
    }
  }
  return [...problems, ...sizeProblems(present, planned, by, file)];
}

/** Whoever needs the stage as a whole needs each of them. */
function sizeProblems(
  present: readonly PlannedTask[],
  planned: readonly PlannedTask[],
  by: PlannedTask,
  file: string,
): Problem[] {
  const at = { file, line: 1, column: 1 };
  const count = present.length + planned.length;
  if (count > limits.runTasks) {
    return [{ ...at, message: `the run would have ${count} tasks; at most ${limits.runTasks} are possible` }];
  }
  const needing = present.filter(({ needs }) => needs.includes(taskId(by))).length;
  const needs = [...present, ...planned].reduce((sum, task) => sum + task.needs.length + 1, needing * planned.length);
  if (needs <= limits.runNeeds) return [];
  const message = `the tasks of the run would need each other ${needs} times; at most ${limits.runNeeds} are possible`;
  return [{ ...at, message, hint: "put a stage with one task between large stages" }];
}
