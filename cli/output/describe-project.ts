import type { ProjectRecord } from "../../proto/gen/millrace/v1/project_pb.ts";
import { formatDuration } from "./format.ts";
import { isoTime, millisOf } from "./labels.ts";
import { safeText } from "./safe-text.ts";
import { table } from "./table.ts";

/** Field names are a promise to scripts. */
export function projectJson({ project, etag, updateTime, updatedBy }: ProjectRecord) {
  const { quotas, retention } = project ?? {};
  const text = (value: string | undefined) => (value === undefined || value === "" ? null : value);
  return {
    name: project?.name ?? "",
    title: text(project?.title),
    repository: text(project?.repository),
    branch: text(project?.defaultBranch),
    credentialsSecret: text(project?.credentialsSecret),
    knownHosts: text(project?.knownHosts),
    trustFirstHostKey: project?.trustFirstHostKey ?? false,
    webhookSecret: text(project?.webhookSecret),
    cacheZone: text(project?.cacheZone),
    quotas: {
      runningTasks: quotas?.runningTasks || null,
      unfinishedRuns: quotas?.unfinishedRuns || null,
      priorityMax: quotas?.priorityMax ?? null,
    },
    retention: {
      runs: retention?.runsMax ?? null,
      runAgeMs: millisOf(retention?.runAge) ?? null,
      logAgeMs: millisOf(retention?.logAge) ?? null,
      artifactAgeMs: millisOf(retention?.artifactAge) ?? null,
    },
    etag,
    updateTime: isoTime(updateTime) ?? null,
    updatedBy: text(updatedBy),
  };
}

/** All projects, a row each. */
export function projectTable(records: readonly ProjectRecord[]): string {
  const rows = records.map(({ project }) => [
    project?.name ?? "",
    safeText(project?.title ?? ""),
    safeText(project?.repository ?? ""),
    project?.cacheZone ?? "",
  ]);
  return table(["PROJECT", "TITLE", "REPOSITORY", "CACHE ZONE"], rows);
}

/** What is set of a project, a line each; what is not set is left out. */
export function describeProject(record: ProjectRecord): string {
  const { name, title, repository, branch, credentialsSecret, webhookSecret, cacheZone, quotas, retention, ...ssh } =
    projectJson(record);
  const age = (ms: number | null) => (ms === null ? null : formatDuration(ms));
  const said: readonly (readonly [string, string | number | null])[] = [
    ["project", name],
    ["title", title],
    ["repository", repository],
    ["branch", branch],
    ["credentials in the secret", credentialsSecret],
    ["keys of its host", ssh.knownHosts ?? (ssh.trustFirstHostKey ? "the first that each agent meets" : null)],
    ["webhooks signed by the secret", webhookSecret],
    ["cache zone", cacheZone],
    ["tasks that run at one time", quotas.runningTasks],
    ["unfinished runs", quotas.unfinishedRuns],
    ["greatest priority", quotas.priorityMax],
    ["runs kept", retention.runs],
    ["runs kept for", age(retention.runAgeMs)],
    ["logs kept for", age(retention.logAgeMs)],
    ["artifacts kept for", age(retention.artifactAgeMs)],
  ];
  return said.flatMap(([what, value]) => (value === null ? [] : [`${what}: ${safeText(String(value))}\n`])).join("");
}
