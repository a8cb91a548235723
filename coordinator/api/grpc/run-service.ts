import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type Artifact,
  type Event,
  EventSchema,
  TaskStartedSchema,
  TaskStatus,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import {
  type RunRequest,
  type RunService,
  type SubmitRunArchiveRequest,
  SubmitRunRequestSchema,
} from "../../../proto/gen/millrace/v1/run_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import { type Digest, digestFromMessage, digestToMessage } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { buildTree } from "../../../shared/merkle/build-tree.ts";
import { exportTar, importTar } from "../../../shared/merkle/tar.ts";
import type { SourceEvaluations } from "../../delivery/evaluation/source-evaluations.ts";
import type { RunSteering } from "../../delivery/run/run-steering.ts";
import { type Gates, type RunPins, type Runs, runNumber } from "../../delivery/run/runs.ts";
import type { GitSubmits } from "../../delivery/source/git-submits.ts";
import type { OnImportProgress } from "../../delivery/source/source-imports.ts";
import type { QueueView } from "../../farm/scheduler/queue-view.ts";
import { askerOf } from "../asker.ts";
import { principalOf } from "../guard.ts";
import { receiveEvidence } from "./receive-evidence.ts";
import { submitSource, withProgress } from "./submit-source.ts";

export interface RunServiceDeps {
  readonly runs: Runs;
  readonly steering: RunSteering;
  readonly gits: GitSubmits;
  readonly gates: Gates;
  readonly pins: RunPins;
  readonly queue: QueueView;
  readonly evaluations: SourceEvaluations;
  readonly cas: Cas;
}

const pageSizeDefault = 50;

/** RunService: submits runs and follows them. */
export function runService({
  runs,
  steering,
  gits,
  gates,
  pins,
  queue,
  evaluations,
  cas,
}: RunServiceDeps): ServiceImpl<typeof RunService> {
  return {
    async submitRun(submit, context) {
      return { run: await submitSource({ runs, gits }, askerOf(context), submit, { signal: context.signal }) };
    },

    async *submitRunWithProgress({ submit = create(SubmitRunRequestSchema) }, context) {
      const { signal } = context;
      const submitted = (onProgress: OnImportProgress, inner: AbortSignal) =>
        submitSource({ runs, gits }, askerOf(context), submit, { signal: inner, onProgress });
      yield* withProgress(submitted, signal);
    },

    async submitRunArchive(messages, context) {
      const { request, root } = await receiveArchive(cas, messages, context.signal);
      return { run: await runs.submit(askerOf(context), request, { root }, { signal: context.signal }) };
    },

    async evaluatePipeline({ project, source: digest, pipelinePath: asked }, { signal }) {
      const source = digestFromMessage(digest, "source");
      const { pipelinePath, text } = await evaluations.evaluate({ project, source, pipelinePath: asked }, signal);
      return { pipelinePath, pipeline: text };
    },

    async getRun({ run }) {
      return { run: await runs.get(run) };
    },

    async listRuns({ pageSize, pageToken, project }, context) {
      const limit = Math.min(pageSize > 0 ? pageSize : pageSizeDefault, limits.listPage);
      const projects = project === "" ? principalOf(context).projects : [project];
      const found = await runs.list({ ...beforeOf(pageToken), limit, projects });
      const last = found.length === limit ? found.at(-1) : undefined;
      return { runs: found, nextPageToken: last?.name ?? "" };
    },

    async *watchRun({ run, afterSequence }, context) {
      const isBound = principalOf(context).projects !== undefined;
      for await (const { sequence, event } of runs.watch(run, Number(afterSequence), context.signal)) {
        yield { sequence: BigInt(sequence), event: isBound ? withoutForeignName(event, run) : event };
      }
    },

    async cancelRun({ run, reason }, context) {
      const asker = askerOf(context);
      return { status: await runs.cancel(asker, run, reason || `cancelled by ${asker.principal.name}`) };
    },

    ...steeringMethods(steering),

    async decideGate({ run, stage, decision, comment, binding, fields, checked }, context) {
      const word = { run, stage, decision, comment, binding, fields, checked };
      return { gate: await gates.decideGate(askerOf(context), word) };
    },

    async withdrawVote({ run, stage }, context) {
      return { hadNone: !(await gates.withdrawVote(askerOf(context), { run, stage })) };
    },

    async addEvidence(messages, context) {
      const file = await receiveEvidence(cas, messages, context.signal);
      await gates.addEvidence(askerOf(context), file);
      return { digest: digestToMessage(file.digest) };
    },

    async pinRun({ run, reason }, context) {
      await pins.pin(askerOf(context), run, reason);
      return {};
    },

    async unpinRun({ run }, context) {
      await pins.unpin(askerOf(context), run);
      return {};
    },

    async listQueuePlaces({ run }, context) {
      const principal = principalOf(context);
      const queued = (await runs.get(run)).tasks.filter(({ status }) => status === TaskStatus.QUEUED);
      const places = queue.placesOf(queued.map(({ executionId }) => executionId));
      return {
        places: queued.flatMap(({ stage, name, executionId }) => {
          const place = places.get(executionId);
          if (place === undefined) return [];
          // What others do is theirs to tell.
          const own = place.holders.filter(
            ({ execution }) => principal.projects === undefined || execution.startsWith(`${run}.`),
          );
          const holders = own.map(({ execution, agent }) => ({ executionId: execution, agent }));
          return [{ ...place, holders, pools: [...place.pools], task: `${stage}/${name}` }];
        }),
      };
    },

    async *downloadArtifact({ run, artifact: name }, { signal }) {
      const artifact = findArtifact(
        (await runs.get(run)).tasks.flatMap(({ artifacts }) => artifacts),
        run,
        name,
      );
      const root = await rootOf(cas, artifact, signal);
      let totalBytes = 0n;
      for await (const chunk of exportTar(cas, root, signal)) {
        totalBytes += BigInt(chunk.byteLength);
        yield { part: { case: "chunk", value: chunk } };
      }
      yield { part: { case: "finish", value: { totalBytes } } };
    },
  };
}

/** A shared execution has the name of a task of the run that was first, which may be another project's. */
function withoutForeignName(event: Event, run: string): Event {
  const { kind } = event;
  if (kind.case !== "taskStarted" || kind.value.executionId.startsWith(`${run}.`)) return event;
  const value = create(TaskStartedSchema, { ...kind.value, executionId: "" });
  return create(EventSchema, { ...event, kind: { case: "taskStarted", value } });
}

/** What changes a run that goes on, or has finished. */
function steeringMethods(steering: RunSteering) {
  return {
    async retryRun({ run, tasks, ...how }, context) {
      const { avoidAgents, avoidLastAgent, bypassCache } = how;
      if (avoidAgents.length > limits.avoidedAgents) {
        throw new MillraceError("invalid_argument", `at most ${limits.avoidedAgents} agents can be avoided`);
      }
      const wanted = { tasks, avoidAgents, avoidLastAgent, bypassCache };
      return { tasks: [...(await steering.retry(askerOf(context), run, wanted))] };
    },

    async pauseRun({ run, reason }, context) {
      await steering.pause(askerOf(context), run, reason);
      return {};
    },

    async resumeRun({ run }, context) {
      await steering.resume(askerOf(context), run);
      return {};
    },

    async skipTask({ run, task, reason }, context) {
      const { tasks, running } = await steering.skip(askerOf(context), run, { task, reason });
      return { tasks: [...tasks], running: [...running] };
    },

    async commentRun({ run, task, text }, context) {
      await steering.comment(askerOf(context), run, { task, text });
      return {};
    },
  } satisfies Partial<ServiceImpl<typeof RunService>>;
}

/** A page token is the name of the last run of the page before. */
function beforeOf(pageToken: string): { before?: number } {
  if (pageToken === "") return {};
  const before = runNumber(pageToken);
  if (before === undefined) throw new MillraceError("invalid_argument", `"${pageToken}" is no page token`);
  return { before };
}

/** Unpacks a tar while it arrives. Only `finish` with the right total makes it whole. */
async function receiveArchive(
  cas: Cas,
  messages: AsyncIterable<SubmitRunArchiveRequest>,
  signal: AbortSignal,
): Promise<{ request: RunRequest; root: Digest }> {
  const parts = messages[Symbol.asyncIterator]();
  const first = await parts.next();
  if (first.done === true || first.value.part.case !== "start") {
    throw new MillraceError("invalid_argument", "the first message of an archive must be `start`");
  }
  const request = first.value.part.value;

  async function* chunks(): AsyncGenerator<Uint8Array> {
    let receivedBytes = 0;
    for (;;) {
      const next = await parts.next();
      if (next.done === true) {
        throw new MillraceError("invalid_argument", "the archive ended without `finish`: nothing was started");
      }
      const { part } = next.value;
      if (part.case === "chunk") {
        receivedBytes += part.value.byteLength;
        yield part.value;
      } else if (part.case === "finish") {
        if (part.value.totalBytes === BigInt(receivedBytes)) return;
        throw new MillraceError(
          "invalid_argument",
          `\`finish\` speaks of ${part.value.totalBytes} bytes, ${receivedBytes} have arrived`,
        );
      } else {
        throw new MillraceError("invalid_argument", "after `start` an archive has only `chunk` and `finish`");
      }
    }
  }
  return { request, root: await importTar(chunks(), cas, signal) };
}

function findArtifact(artifacts: readonly Artifact[], run: string, name: string): Artifact {
  const found = artifacts.find((artifact) => artifact.name === name);
  if (found !== undefined) return found;
  const known = artifacts.map((artifact) => artifact.name).join(", ") || "none yet";
  throw new MillraceError("not_found", `${run} has no artifact "${name}"; it has: ${known}`);
}

/** The directory to pack: of a file, one that holds just the file under the last part of its path. */
async function rootOf(cas: Cas, artifact: Artifact, signal: AbortSignal): Promise<Digest> {
  const { content, name, path, isExecutable: executable } = artifact;
  if (content.case === "directory") return digestFromMessage(content.value);
  if (content.case === undefined) throw new MillraceError("internal", `the artifact ${name} has no content`);
  const node = { kind: "file", digest: digestFromMessage(content.value), executable } as const;
  const tree = buildTree([{ path: path.slice(path.lastIndexOf("/") + 1), node }]);
  await cas.writeMany([...tree.directories.values()], signal);
  return tree.root;
}
