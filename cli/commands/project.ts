import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Command } from "commander";
import {
  type Project,
  ProjectQuotasSchema,
  ProjectRetentionSchema,
  ProjectSchema,
} from "../../proto/gen/millrace/v1/event_pb.ts";
import { type ProjectRecord, ProjectService } from "../../proto/gen/millrace/v1/project_pb.ts";
import { MillraceError } from "../../shared/errors.ts";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { duration, fileText, orEmpty, wholeNumber } from "../option-values.ts";
import { processConsole } from "../output/console.ts";
import { describeProject, projectJson, projectTable } from "../output/describe-project.ts";

interface ProjectOptions extends ConnectionOptions {
  readonly json?: boolean;
}

interface SettingOptions extends ProjectOptions {
  readonly title?: string;
  readonly repo?: string;
  readonly branch?: string;
  readonly credentialsSecret?: string;
  readonly knownHosts?: string;
  readonly trustFirstHostKey?: boolean;
  readonly webhookSecret?: string;
  readonly cacheZone?: string;
  readonly quotaRunningTasks?: number | "";
  readonly quotaUnfinishedRuns?: number | "";
  readonly quotaPriorityMax?: number | "";
  readonly retentionRuns?: number | "";
  readonly retentionRunAge?: number | "";
  readonly retentionLogAge?: number | "";
  readonly retentionArtifactAge?: number | "";
}

/** `millrace project`. */
export function projectCommand(): Command {
  const command = new Command("project").description(
    "Projects: what runs belong to, with repository, quotas, retention and cache zone. To change them needs a token of an admin.",
  );
  withSettings(command.command("add"))
    .description("Make a project.")
    .addHelpText("after", "\nExample:\n  $ millrace project add shop --repo https://git.example.org/shop.git")
    .action(addProject);
  withConnectionOptions(command.command("list"))
    .description("List the projects that you may see.")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace project list")
    .action(listProjects);
  withConnectionOptions(command.command("show"))
    .description("Show what is set of a project.")
    .argument("<name>", "the project")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace project show shop")
    .action(showProject);
  withSettings(command.command("set"))
    .description("Change what is named of a project; the rest stays as it is. An empty text takes a setting away.")
    .addHelpText(
      "after",
      "\nExamples:\n  $ millrace project set shop --quota-running-tasks 20 --retention-runs 200\n" +
        '  $ millrace project set shop --retention-runs ""   # as on the whole farm again',
    )
    .action(setProject);
  withConnectionOptions(command.command("remove"))
    .description("Remove a project without unfinished runs; its runs stay until their time is over.")
    .argument("<name>", "the project")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace project remove shop")
    .action(removeProject);
  return command;
}

function withSettings(command: Command): Command {
  return withConnectionOptions(command)
    .argument("<name>", "1 to 63 of a-z, 0-9, - and _")
    .option("--title <text>", "for people")
    .option(
      "--repo <url>",
      "where its source is: https://…, ssh://…, git@host:… or a path on the agents; no credentials",
    )
    .option("--branch <name>", "the branch that is meant when none is named (default: the repository's own)")
    .option("--credentials-secret <name>", "the secret that opens the repository: user:password or an SSH key")
    .option(
      "--known-hosts <file>",
      "keys that the server of an SSH repository may have, as ssh-keyscan prints them",
      fileText,
    )
    .option("--trust-first-host-key", "believe the key that each agent meets first, where none are named")
    .option("--no-trust-first-host-key", "believe only keys that are named, here or on the agents' machines")
    .option("--webhook-secret <name>", "the secret that signs its webhooks")
    .option("--cache-zone <name>", "share results only with projects of the same zone (default: the common one)")
    .option("--quota-running-tasks <n>", "tasks that run at one time; 0 is no bound", orEmpty(wholeNumber))
    .option("--quota-unfinished-runs <n>", "runs that have not finished; 0 is no bound", orEmpty(wholeNumber))
    .option("--quota-priority-max <n>", "the greatest priority of its tasks (default: no bound)", orEmpty(wholeNumber))
    .option("--retention-runs <n>", "finished runs that are kept (default: as on the whole farm)", orEmpty(wholeNumber))
    .option(
      "--retention-run-age <time>",
      "for how long they are, such as 90d (default: as on the whole farm)",
      orEmpty(duration),
    )
    .option(
      "--retention-log-age <time>",
      "for how long their logs are (default: as on the whole farm)",
      orEmpty(duration),
    )
    .option(
      "--retention-artifact-age <time>",
      "for how long their artifacts are (default: as on the whole farm)",
      orEmpty(duration),
    )
    .option("--json", "print one JSON object");
}

async function addProject(name: string, options: SettingOptions): Promise<void> {
  const project = changed(create(ProjectSchema, { name }), options);
  const record = await withConnection(options, ({ client }) => client(ProjectService).setProject({ project }));
  await tell(record.project, options);
}

async function setProject(name: string, options: SettingOptions): Promise<void> {
  const record = await withConnection(options, async ({ client }) => {
    const projects = client(ProjectService);
    const { project: before } = await projects.getProject({ name });
    if (before?.project === undefined) throw incomplete();
    return (await projects.setProject({ project: changed(before.project, options), etag: before.etag })).project;
  });
  await tell(record, options);
}

async function listProjects(options: ProjectOptions): Promise<void> {
  const console = processConsole();
  const { projects } = await withConnection(options, ({ client }) => client(ProjectService).listProjects({}));
  if (options.json) return console.writeJson({ projects: projects.map(projectJson) });
  await console.write(projectTable(projects));
}

async function showProject(name: string, options: ProjectOptions): Promise<void> {
  const { project } = await withConnection(options, ({ client }) => client(ProjectService).getProject({ name }));
  await tell(project, options);
}

async function removeProject(name: string, options: ProjectOptions): Promise<void> {
  const console = processConsole();
  await withConnection(options, ({ client }) => client(ProjectService).removeProject({ name }));
  if (options.json) return console.writeJson({ removed: name });
  console.note(`the project ${name} is removed`);
}

async function tell(record: ProjectRecord | undefined, options: ProjectOptions): Promise<void> {
  const console = processConsole();
  if (record === undefined) throw incomplete();
  if (options.json) return console.writeJson(projectJson(record));
  await console.write(describeProject(record));
}

function incomplete(): MillraceError {
  return new MillraceError("internal", "the coordinator answered without the project");
}

function changed(before: Project, options: SettingOptions): MessageInitShape<typeof ProjectSchema> {
  const { $typeName: _, ...settings } = before;
  const quotas = before.quotas ?? create(ProjectQuotasSchema);
  const retention = before.retention ?? create(ProjectRetentionSchema);
  const ageOf = (ageMs: number | "" | undefined) => (typeof ageMs === "number" ? durationFromMs(ageMs) : ageMs);
  const countOf = (count: number | "" | undefined) => (count === "" ? 0 : count);
  choose(quotas, "runningTasks", countOf(options.quotaRunningTasks));
  choose(quotas, "unfinishedRuns", countOf(options.quotaUnfinishedRuns));
  choose(quotas, "priorityMax", options.quotaPriorityMax);
  choose(retention, "runsMax", options.retentionRuns);
  choose(retention, "runAge", ageOf(options.retentionRunAge));
  choose(retention, "logAge", ageOf(options.retentionLogAge));
  choose(retention, "artifactAge", ageOf(options.retentionArtifactAge));
  return {
    ...settings,
    title: options.title ?? before.title,
    repository: options.repo ?? before.repository,
    defaultBranch: options.branch ?? before.defaultBranch,
    credentialsSecret: options.credentialsSecret ?? before.credentialsSecret,
    knownHosts: options.knownHosts ?? before.knownHosts,
    trustFirstHostKey: options.trustFirstHostKey ?? before.trustFirstHostKey,
    webhookSecret: options.webhookSecret ?? before.webhookSecret,
    cacheZone: options.cacheZone ?? before.cacheZone,
    quotas,
    retention,
  };
}

/** What was not given stays, and an empty text takes it away. */
function choose<T extends object, K extends keyof T>(settings: T, key: K, given: T[K] | "" | undefined): void {
  if (given === "") Reflect.deleteProperty(settings, key);
  else if (given !== undefined) settings[key] = given;
}
