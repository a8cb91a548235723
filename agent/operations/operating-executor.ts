import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Assign, Report } from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import {
  type Deployment,
  type DeploymentOutcome,
  DeploymentOutcomeSchema,
  EndingKind,
} from "../../proto/gen/millrace/v1/event_pb.ts";
import { digestFromMessage, digestKey, digestToMessage, parseDigestKey } from "../../shared/digest.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { namePattern } from "../../shared/pipeline/reading.ts";
import { type Conclusion, conclusion, type Executor, type ReadTask, Stopped } from "../executor/executor.ts";
import { parseSpoolName } from "../logs/spool-name.ts";
import { type DeployDeps, type Deployed, deploy, shortly } from "./deploy.ts";
import type { Journal } from "./journal.ts";
import type { Release, Target } from "./release.ts";
import { releaseFolder } from "./release-folder.ts";
import { turns } from "./turns.ts";

export interface OperatingOptions extends Omit<DeployDeps, "folder" | "journal"> {
  readonly journal: Journal;
  /** Holds the releases of all environments on this host. */
  readonly folder: string;
}

/**
 * Carries out host operations, one after another for each app of an environment. An operation that is cut short by the end
 * of the agent throws: its journal says where to go on.
 */
export function operatingExecutor(options: OperatingOptions): Executor<ReadTask> {
  const { journal, folder } = options;
  const lines = turns();

  async function run(task: ReadTask, message: Assign, deployment: Deployment, stop: AbortSignal): Promise<Conclusion> {
    const { environment, app } = deployment;
    const cancelled = new AbortController();
    const ending = new AbortController();
    const onStop = () => {
      const reason: unknown = stop.reason;
      const ends = reason instanceof Stopped && reason.kind === EndingKind.INFRASTRUCTURE;
      (ends ? ending : cancelled).abort(reason);
    };
    if (stop.aborted) onStop();
    stop.addEventListener("abort", onStop);
    try {
      const done = await deploy(
        { ...options, folder: releaseFolder(join(folder, environment, app)) },
        {
          executionId: task.executionId,
          target: { environment, app },
          release: releaseOf(task, deployment),
          entry: await journal.begin(message, { environment, app }),
          log: task.spool,
          cancelled: cancelled.signal,
          ending: ending.signal,
        },
      );
      return concluded(done, { environment, app }, releaseOf(task, deployment));
    } finally {
      stop.removeEventListener("abort", onStop);
    }
  }

  return {
    async execute(task, stop) {
      const { operation } = task;
      const kind = operation?.hostOperation?.kind;
      if (operation === undefined || kind?.case !== "deploy") {
        throw new MillraceError("unimplemented", "this agent does not know the host operation: upgrade it");
      }
      const { value: deployment } = kind;
      const { environment, app } = deployment;
      checkName("environment", environment);
      checkName("app", app);
      return await lines.take(`${environment}/${app}`, async () => {
        const started = task.time.now();
        const done = await run(task, operation, deployment, stop);
        done.times.executionStartTimestamp = started;
        done.times.executionCompletedTimestamp = task.time.now();
        return done;
      });
    },
  };
}

export interface JournalingOptions {
  readonly journal: Pick<Journal, "reported" | "takeOver">;
  /** Holds the output of operations. */
  readonly spools: string;
  readonly onError: (error: MillraceError) => void;
}

/** What becomes of a journaled operation beside its execution. Neither throws. */
export function operationJournaling({ journal, spools, onError }: JournalingOptions) {
  return {
    /**
     * Forgets an operation whose report is on disk: from then on the outbox has it. It may have a spool file of each
     * attempt under which it went on.
     */
    async forgetOperation({ executionId }: Pick<Report, "executionId">): Promise<void> {
      try {
        await journal.reported(executionId);
        for (const name of await readdir(spools)) {
          if (parseSpoolName(name)?.executionId === executionId) await rm(join(spools, name), { force: true });
        }
      } catch (error) {
        // It is resumed once more after a restart, finds that it has ended, and is reported again.
        onError(from(error, `forgetting the operation ${executionId}`));
      }
    },

    /** Journals that an operation goes on under a greater epoch: else the next start would go on under the older one. */
    async operationTakenOver(message: Assign): Promise<void> {
      const kind = message.hostOperation?.kind;
      if (kind?.case !== "deploy") return;
      const { environment, app } = kind.value;
      try {
        await journal.takeOver(message, { environment, app });
      } catch (error) {
        // After a restart it is resumed under the older epoch, and taken over once more.
        onError(from(error, `journaling that ${message.executionId} was taken over`));
      }
    },
  };
}

/** They become folders: no coordinator may lead us out of ours. */
function checkName(what: string, name: string): void {
  if (namePattern.test(name)) return;
  throw new MillraceError("invalid_argument", `"${name}" is no name of an ${what}`);
}

function releaseOf({ action, command }: ReadTask, { probe }: Deployment): Release {
  const variables = command.environmentVariables.map(({ name, value }) => [name, value] as const);
  return {
    digest: digestKey(digestFromMessage(action.inputRootDigest, "input_root_digest")),
    arguments: command.arguments,
    environment: Object.fromEntries(variables),
    probeUrl: probe?.url ?? "",
    probeTimeoutMs: probe?.timeout === undefined ? limits.probeTimeoutMs : durationMs(probe.timeout),
  };
}

function concluded(
  { state, movedBytes, probeAnswer, previous }: Deployed,
  target: Target,
  release: Release,
): Conclusion {
  const inPlace = state.step === "succeeded" ? release : previous;
  const deployment: DeploymentOutcome = create(DeploymentOutcomeSchema, {
    ...target,
    release: message(release),
    ...(inPlace === undefined ? {} : { current: message(inPlace) }),
    healthy: state.healthy,
    wentBack: state.wentBack,
    movedBytes: BigInt(movedBytes),
    probeAnswer,
  });
  if (state.step === "succeeded") {
    return { ...conclusion({ kind: EndingKind.EXITED, exitCode: 0 }), deployment };
  }
  const where = previous === undefined ? "no release is in place" : `${shortly(previous)} is in place`;
  const health = previous === undefined || state.healthy ? "" : ", and it is not healthy";
  const kind = state.cancelled ? EndingKind.CANCELLED : EndingKind.DEPLOYMENT_FAILED;
  return { ...conclusion({ kind, detail: `${state.reason}; ${where}${health}` }), deployment };
}

function message({ digest }: Release) {
  return digestToMessage(parseDigestKey(digest));
}
