import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { BadRequestSchema } from "../../../proto/gen/google/rpc/error_details_pb.ts";
import {
  CommitSchema,
  type Event,
  EventSchema,
  type Project,
  ProjectQuotasSchema,
  ProjectSchema,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import { type ProjectRecord, ProjectRecordSchema } from "../../../proto/gen/millrace/v1/project_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { suggest } from "../../../shared/pipeline/did-you-mean.ts";
import { turns } from "../../../shared/turns.ts";
import type { EventKind } from "../../store/event-kind.ts";
import { type EventStore, emptyStream, type StreamToken } from "../../store/event-store.ts";
import type { StreamKeeping } from "../../store/stream-keeping.ts";
import type { Asker } from "../run/runs.ts";
import { projectProblems } from "./project-rules.ts";
import { defaultProject, type Projects, type ProjectView } from "./projects.ts";

export interface StoredProjectsDeps {
  readonly store: Pick<EventStore, "append" | "read"> & Pick<StreamKeeping, "streams">;
  readonly clock: Clock;
  /** Asked before a project goes: how many of its runs have not finished. */
  readonly unfinishedRuns: (project: string) => number;
  /** Asked before a project goes: how many secrets it has. */
  readonly secretsOf: (project: string) => number;
}

/** A project with the state of its stream; one that was removed has a stream, and no record. */
interface Entry {
  token: StreamToken;
  record: ProjectRecord | undefined;
}

/**
 * Projects are few and asked for with every run and every call, so all of them are kept in memory; each is a stream of its
 * own, `project/<name>`. Changes take turns, and the coordinator is the only one who appends.
 */
export async function openProjects(deps: StoredProjectsDeps): Promise<Projects & ProjectView> {
  const { store, clock } = deps;
  const entries = new Map<string, Entry>([[defaultProject, { token: emptyStream, record: untouchedDefault() }]]);
  const held = new Map<string, number>();
  const changing = turns();
  for (const stream of await store.streams(prefix)) {
    const { commits, token } = await store.read(stream);
    const name = stream.slice(prefix.length);
    let record: ProjectRecord | undefined;
    for (const event of commits.flatMap(({ commit }) => commit.events)) record = folded(event, token) ?? undefined;
    entries.set(name, { token, record });
  }

  const names = () => [...entries].flatMap(([name, { record }]) => (record === undefined ? [] : [name])).sort();

  function requireKnown(name: string): { entry: Entry; record: ProjectRecord } {
    const entry = entries.get(name);
    if (entry?.record !== undefined) return { entry, record: entry.record };
    const hint = suggest(name, names(), "projects");
    throw new MillraceError("not_found", `there is no project "${name}" (${hint}): \`millrace project add\` makes one`);
  }

  async function append(asker: Asker, name: string, expected: StreamToken, kind: EventKind): Promise<void> {
    const { principal, traceparent } = asker;
    const time = timestampFromMs(clock.nowMs());
    const event = create(EventSchema, { time, principal: principal.name, project: name, traceparent, kind });
    const token = await store.append(prefix + name, expected, create(CommitSchema, { events: [event] }));
    entries.set(name, { token, record: folded(event, token) });
  }

  return {
    list: () => names().map((name) => requireKnown(name).record),
    get: (name) => requireKnown(name).record,
    find: (name) => entries.get(name)?.record?.project,
    quotasOf: (name) => entries.get(name)?.record?.project?.quotas ?? create(ProjectQuotasSchema),
    cacheZoneOf: (name) => entries.get(name)?.record?.project?.cacheZone ?? "",

    hold(name) {
      requireKnown(name);
      held.set(name, (held.get(name) ?? 0) + 1);
      return () => void held.set(name, (held.get(name) ?? 1) - 1);
    },

    set: (asker, project, etag) =>
      changing.take(async () => {
        requireSound(project);
        const { name } = project;
        if (etag !== "") requireEtag(requireKnown(name).record, etag);
        else if (entries.get(name)?.record !== undefined) throw alreadyThere(name);
        else if (names().length >= limits.projects) {
          throw new MillraceError("resource_exhausted", `a farm has at most ${limits.projects} projects`);
        }
        await append(asker, name, entries.get(name)?.token ?? emptyStream, {
          case: "projectSet",
          value: { project },
        });
        return requireKnown(name).record;
      }),

    remove: (asker, name, etag) =>
      changing.take(async () => {
        const { entry, record } = requireKnown(name);
        if (etag !== "") requireEtag(record, etag);
        if (name === defaultProject) {
          throw new MillraceError("failed_precondition", `the project ${name} is always there and cannot be removed`);
        }
        const { token } = entry;
        entry.record = undefined; // from now on nobody can hold it
        try {
          requireUnused(name, deps, held.get(name) ?? 0);
          await append(asker, name, token, { case: "projectRemoved", value: { project: name } });
        } catch (error) {
          entry.record = record;
          throw error;
        }
      }),
  };
}

const prefix = "project/";

/** As it is before anybody has set it. */
function untouchedDefault(): ProjectRecord {
  return create(ProjectRecordSchema, { project: create(ProjectSchema, { name: defaultProject }), etag: "0" });
}

/** What a project is after this event, the last one of its stream so far. */
function folded({ kind, time, principal }: Event, token: StreamToken): ProjectRecord | undefined {
  if (kind.case !== "projectSet" || kind.value.project === undefined) return undefined;
  const { project } = kind.value;
  const updateTime = time === undefined ? {} : { updateTime: time };
  return create(ProjectRecordSchema, { project, etag: token, updatedBy: principal, ...updateTime });
}

function requireSound(project: Project): void {
  const fieldViolations = projectProblems(project);
  if (fieldViolations.length === 0) return;
  const value = create(BadRequestSchema, { fieldViolations });
  throw new MillraceError(
    "invalid_argument",
    fieldViolations.map(({ field, description }) => `${field}: ${description}`).join("\n"),
    { details: [{ desc: BadRequestSchema, value }] },
  );
}

/** @param held runs, and secrets, that are being made */
function requireUnused(name: string, { unfinishedRuns, secretsOf }: StoredProjectsDeps, held: number): void {
  const unfinished = Math.max(unfinishedRuns(name), held);
  if (unfinished > 0) {
    throw new MillraceError(
      "failed_precondition",
      `the project ${name} has ${unfinished} runs that have not finished: wait for them or cancel them first`,
    );
  }
  const secrets = secretsOf(name);
  if (secrets === 0) return;
  throw new MillraceError(
    "failed_precondition",
    `the project ${name} has ${secrets} secrets, which a later project of this name would get: remove them first with ` +
      `\`millrace secret remove NAME --project ${name}\``,
  );
}

function requireEtag({ etag, project }: ProjectRecord, given: string): void {
  if (etag === given) return;
  throw new MillraceError(
    "aborted",
    `the project ${project?.name} was changed since it was read: read it again with \`millrace project show ${project?.name}\``,
  );
}

function alreadyThere(name: string): MillraceError {
  return new MillraceError(
    "already_exists",
    `there is a project "${name}" already: change it with \`millrace project set\``,
  );
}
