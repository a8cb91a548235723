import type { PlannedTask } from "../../proto/gen/millrace/v1/event_pb.ts";
import { formatProblem } from "../../shared/pipeline/format-problem.ts";
import { parsePipeline } from "../../shared/pipeline/parse.ts";
import type { Pipeline, Task } from "../../shared/pipeline/pipeline.ts";
import { planRun } from "../../shared/pipeline/plan.ts";
import { noRun, type PlanContext } from "../../shared/pipeline/plan-context.ts";

const someRun: PlanContext = { ...noRun, isSample: false, branch: "main", commit: "c0ffee" };

/** The pipeline of a text, for a run of the branch `main` unless the context says otherwise. Throws its problems. */
export function parsed(text: string, context: Partial<PlanContext> = {}): Pipeline {
  const { pipeline, problems } = parsePipeline(text, "millrace.yaml", { context: { ...someRun, ...context } });
  if (pipeline === undefined) throw new Error(problems.map(formatProblem).join("\n"));
  return pipeline;
}

/** The tasks of a run of it on an empty source. */
export function planned(text: string, context: Partial<PlanContext> = {}): readonly PlannedTask[] {
  const pipeline = parsed(text, context);
  return planRun({ pipeline, source: [], offers: [], stages: [], tasks: [] }).tasks;
}

/** What is wrong with a text, as people read it. */
export function problemsOf(text: string, context: Partial<PlanContext> = {}): string[] {
  return parsePipeline(text, "millrace.yaml", { context: { ...someRun, ...context } }).problems.map(formatProblem);
}

/** All tasks, in file order. */
export function tasksOf(pipeline: Pipeline): Task[] {
  return pipeline.stages.flatMap(({ tasks }) => tasks);
}

/** A pipeline with one stage `s`, whose one task `t` is this; `top` is put before the stages. */
export function withTask(task: string, top = ""): string {
  return `name: p\n${top}stages:\n  s:\n    tasks:\n      t: ${task}\n`;
}
