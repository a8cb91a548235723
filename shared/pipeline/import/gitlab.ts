import { type Draft, type DraftTask, draftNames, type ReportGap } from "./draft.ts";
import { entriesAt, entryOf, type ForeignMap, textAt, textsOf, valueAt } from "./foreign-yaml.ts";
import { type GitlabJob, gitlabJobs } from "./gitlab-jobs.ts";
import { gitlabCondition } from "./gitlab-rules.ts";
import { gitlabTask, globalVariables, neededJobs } from "./gitlab-task.ts";

const usualStages = ["build", "test", "deploy"];

/** What is known of a job once all are. */
interface Made {
  readonly job: GitlabJob;
  readonly task: DraftTask;
  readonly stage: string;
}

/** A `.gitlab-ci.yml` as a pipeline: stage by stage, each after the one before it, and artifacts where they lay. */
export function importGitlab(file: ForeignMap, fallbackName: string, report: ReportGap): Draft {
  const draft: Draft = { name: draftNames()(fallbackName), stages: new Map() };
  const include = entryOf(file, "include");
  if (include !== undefined)
    report(include.line, "`include`: what other files say is not in this pipeline; translate each of them");
  const values = globalVariables(file, draft);
  const params = new Set(Object.keys(draft.params ?? {}));
  importWorkflow(file, report);
  const order = [
    ".pre",
    ...(textsOf(valueAt(file, "stages")).length > 0 ? textsOf(valueAt(file, "stages")) : usualStages),
    ".post",
  ];
  const jobs = gitlabJobs(file, report).map((job): Made => {
    const task = gitlabTask(job, file, report);
    const { when, allowFailure } = gitlabCondition(job.job, { params, values }, report);
    if (when !== undefined) task.when = when;
    if (allowFailure) task.allow_failure = true;
    return { job, task, stage: textAt(job.job, "stage") ?? "test" };
  });
  const stageNames = draftNames();
  const taskNames = new Map(order.map((stage) => [stage, draftNames()]));
  const nameOf = ({ job, stage }: Made) => (taskNames.get(stage) ?? stageNames)(job.name);
  let before: string | undefined;
  for (const stage of order) {
    const here = jobs.filter((one) => one.stage === stage);
    if (here.length === 0) continue;
    const earlier = jobs.filter((one) => order.indexOf(one.stage) < order.indexOf(stage));
    for (const made of here) hand(made, { here, earlier, nameOf, report });
    const tasks = new Map(here.map((made) => [nameOf(made), made.task]));
    const name = stageNames(stage.replace(/^\./, ""));
    draft.stages.set(name, { ...(before === undefined ? {} : { needs: [before] }), tasks });
    before = name;
  }
  for (const { job, stage } of jobs)
    if (!order.includes(stage)) report(job.job.line, `the stage "${stage}" of ${job.name} is not among \`stages\``);
  return draft;
}

interface Surroundings {
  readonly here: readonly Made[];
  readonly earlier: readonly Made[];
  readonly nameOf: (made: Made) => string;
  readonly report: ReportGap;
}

/** What a job waits for beside the stage before it, and which artifacts come to it: those of all earlier jobs, unless it says. */
function hand({ job, task }: Made, { here, earlier, nameOf, report }: Surroundings): void {
  const needs = neededJobs(job.job, report);
  const sameStage = here.filter((made) => needs?.some(({ name }) => name === made.job.name));
  if (sameStage.length > 0) task.needs = sameStage.map(nameOf);
  if (needs?.some(({ name }) => earlier.some((made) => made.job.name === name)) || needs?.length === 0) {
    report(
      entryOf(job.job, "needs")?.line ?? job.job.line,
      "`needs` across stages: it waits for the whole stage before it; put what belongs together into one stage",
    );
  }
  const named = entryOf(job.job, "dependencies");
  const wanted =
    named !== undefined
      ? new Set(textsOf(named.value))
      : needs !== undefined
        ? new Set(needs.filter(({ artifacts }) => artifacts).map(({ name }) => name))
        : undefined;
  const givers = [...earlier, ...sameStage].filter((made) => wanted === undefined || wanted.has(made.job.name));
  const taken = new Set<string>(Object.values(task.caches ?? {}));
  const use = givers.flatMap((made) =>
    Object.entries(made.task.outputs ?? {}).flatMap(([artifact, path]) => {
      if ([...taken].some((other) => other === path || other.startsWith(`${path}/`) || path.startsWith(`${other}/`))) {
        report(
          job.job.line,
          `the artifact of ${made.job.name} at \`${path}\` would land on another one, or on a cache, and was left out`,
        );
        return [];
      }
      taken.add(path);
      return [artifact === path ? artifact : { artifact, path }];
    }),
  );
  if (use.length > 0) task.use = use;
}

function importWorkflow(file: ForeignMap, report: ReportGap): void {
  for (const [key, { line }] of entriesAt(valueAt(file, "workflow")))
    report(line, `\`workflow: ${key}\`: what starts runs stands under \`on\``);
}
