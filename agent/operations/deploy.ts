import { appendFileSync } from "node:fs";
import { EndingKind } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../shared/clock.ts";
import { type Digest, parseDigestKey } from "../../shared/digest.ts";
import { from, type MillraceError } from "../../shared/errors.ts";
import { Stopped } from "../executor/executor.ts";
import type { LocalStore } from "../store/local-store.ts";
import type { Units } from "../units/units.ts";
import { type DeployState, type DeployStep, isBack, isFinal, nextState, type StepResult } from "./deploy-state.ts";
import type { Journal, JournaledDeploy } from "./journal.ts";
import { askOnce, askUntilHealthy, type ProbeAnswer } from "./probe.ts";
import { type Release, type Target, unitName } from "./release.ts";
import type { ReleaseFolder } from "./release-folder.ts";

export interface DeployDeps {
  readonly journal: Pick<Journal, "save" | "finish" | "verified">;
  readonly units: Pick<Units, "start" | "stop" | "status">;
  readonly folder: ReleaseFolder;
  /** A store that tells how many bytes it fetched. */
  readonly storeOf: (onFetched: (sizeBytes: number) => void) => LocalStore;
  readonly clock: Clock;
  /** Told of each step once it is journaled and before it is taken. */
  readonly onStep: (executionId: string, step: DeployStep) => void;
  readonly onError: (error: MillraceError) => void;
}

/** One deployment, from where its journal stands. */
export interface DeployPlan {
  readonly executionId: string;
  readonly target: Target;
  readonly release: Release;
  readonly entry: JournaledDeploy;
  /** The task's log. */
  readonly log: string;
  /** The run was cancelled, or the lease has run out: no step forward any more. */
  readonly cancelled: AbortSignal;
  /** The agent ends: the journal stays as it is. */
  readonly ending: AbortSignal;
}

/** What became of it. */
export interface Deployed extends JournaledDeploy {
  /** What was in place before, and is again when it failed. */
  readonly previous: Release | undefined;
}

/**
 * Takes one journaled step after another to the end.
 * @throws MillraceError canceled when the agent ends before the deployment does, and when the journal cannot be written
 */
export async function deploy(deps: DeployDeps, plan: DeployPlan): Promise<Deployed> {
  const { journal, folder, onStep, onError } = deps;
  const { executionId, target, release, ending } = plan;
  const previous = await journal.verified(target);
  let { entry } = plan;
  const notes: Notes = {
    say(line) {
      try {
        appendFileSync(plan.log, `${line}\n`);
      } catch (error) {
        // A full disk: the host comes first, half done it would stay without its service.
        onError(from(error, `writing the log of ${executionId}`));
      }
    },
    moved: (sizeBytes) => {
      entry = { ...entry, movedBytes: entry.movedBytes + sizeBytes };
    },
    answered: (probeAnswer) => {
      entry = { ...entry, probeAnswer };
    },
  };
  const { step } = entry.state;
  if (isFinal(entry.state)) notes.say(`the agent came back; ${summary(entry.state, target, previous)}`);
  else if (step !== "fetching") notes.say(`the agent came back; it goes on with ${step}`);
  while (!isFinal(entry.state)) {
    ending.throwIfAborted();
    await journal.save(executionId, entry);
    onStep(executionId, entry.state.step);
    const result = await takeSafely(deps, { ...plan, entry, previous, notes });
    if (result.kind === "failed") notes.say(`failed: ${result.reason}`);
    const state = nextState(entry.state, result, previous !== undefined);
    entry = { ...entry, state };
    if (!isFinal(state)) continue;
    await journal.finish(executionId, entry, target, state.step === "succeeded" ? release : undefined);
    onStep(executionId, state.step);
    notes.say(summary(state, target, previous));
    const inPlace = [release, ...(previous === undefined ? [] : [previous])].map(digestOf);
    await folder.retain(inPlace).catch((error: unknown) => onError(from(error, "removing old releases")));
  }
  return { ...entry, previous };
}

interface Notes {
  readonly say: (line: string) => void;
  readonly moved: (sizeBytes: number) => void;
  readonly answered: (answer: string) => void;
}

interface Step extends DeployPlan {
  readonly previous: Release | undefined;
  readonly notes: Notes;
}

async function takeSafely(deps: DeployDeps, step: Step): Promise<StepResult> {
  const { cancelled, ending, entry } = step;
  const isStoppable = !isBack(entry.state.step);
  const stopped = (): StepResult => {
    const reason: unknown = cancelled.reason;
    const isFenced = reason instanceof Stopped && reason.kind === EndingKind.AGENT_LOST;
    return { kind: "failed", reason: from(reason).message, cancelled: !isFenced };
  };
  if (isStoppable && cancelled.aborted) return stopped();
  const signal = isStoppable ? AbortSignal.any([cancelled, ending]) : ending;
  try {
    const result = await take(deps, step, signal);
    return isStoppable && cancelled.aborted && result.kind === "failed" ? stopped() : result;
  } catch (error) {
    ending.throwIfAborted();
    return isStoppable && cancelled.aborted ? stopped() : { kind: "failed", reason: from(error).message };
  } finally {
    ending.throwIfAborted();
  }
}

/** Each step can be taken again from the start, however far it had come. */
async function take(deps: DeployDeps, step: Step, signal: AbortSignal): Promise<StepResult> {
  const { units, folder } = deps;
  const { release, previous, target, notes } = step;
  const unit = unitName(target);
  switch (step.entry.state.step) {
    case "fetching":
      return await fetchRelease(deps, step, signal);
    case "stopping":
      notes.say(previous === undefined ? "stopping: nothing runs yet" : `stopping ${shortly(previous)}`);
      await units.stop(unit);
      return { kind: "done" };
    case "flipping":
      notes.say(`current is now ${shortly(release)}`);
      await folder.flip(digestOf(release));
      return { kind: "done" };
    case "starting":
      return await start(deps, step, release);
    case "probing":
      return await probe(deps, step, release, signal);
    case "back-stopping":
      notes.say(previous === undefined ? "taking it away again" : `going back to ${shortly(previous)}`);
      await units.stop(unit);
      return { kind: "done" };
    case "back-flipping":
      if (previous === undefined) await folder.clear();
      else {
        // Where somebody has removed or changed it, it is brought again: a rollback moves no bytes unless it must.
        await folder.ensure(deps.storeOf(notes.moved), digestOf(previous), signal);
        await folder.flip(digestOf(previous));
      }
      return { kind: "done" };
    case "back-starting":
      return previous === undefined ? { kind: "done" } : await start(deps, step, previous);
    case "back-probing":
      return previous === undefined ? { kind: "done" } : await probe(deps, step, previous, signal);
    case "succeeded":
    case "failed":
      return { kind: "done" };
    default:
      return step.entry.state.step satisfies never;
  }
}

async function fetchRelease(deps: DeployDeps, step: Step, signal: AbortSignal): Promise<StepResult> {
  const { release, previous, target, notes } = step;
  let movedBytes = 0;
  const store = deps.storeOf((sizeBytes) => {
    movedBytes += sizeBytes;
    notes.moved(sizeBytes);
  });
  notes.say(`release ${release.digest} for ${target.app} in ${target.environment}`);
  await deps.folder.ensure(store, digestOf(release), signal);
  notes.say(`it is here and every byte is right; ${movedBytes} bytes were fetched`);
  if (JSON.stringify(previous) !== JSON.stringify(release)) return { kind: "done" };
  if (deps.units.status(unitName(target))?.process === undefined) return { kind: "done" };
  const answer = await askOnce(release.probeUrl, signal);
  notes.answered(answer.text);
  notes.say(`it runs already; probe: ${answer.text}`);
  return answer.healthy ? { kind: "unchanged" } : { kind: "done" };
}

async function start({ units, folder }: DeployDeps, { target, notes }: Step, release: Release): Promise<StepResult> {
  notes.say(`starting ${shortly(release)}: ${release.arguments.at(-1)}`);
  await units.start(unitName(target), {
    arguments: release.arguments,
    environment: {
      ...release.environment,
      MILLRACE_ENVIRONMENT: target.environment,
      MILLRACE_RELEASE: release.digest,
    },
    folder: folder.current,
  });
  return { kind: "done" };
}

async function probe(deps: DeployDeps, step: Step, release: Release, signal: AbortSignal): Promise<StepResult> {
  const { clock, units } = deps;
  const { target, notes } = step;
  const unit = () => units.status(unitName(target));
  const processNow = () => {
    const process = unit()?.process;
    return process === undefined ? undefined : `${process.pid} ${process.startTime}`;
  };
  const { probeUrl: url, probeTimeoutMs: timeoutMs } = release;
  notes.say(`probing ${url}`);
  const onAnswer = (text: string) => notes.say(`probe: ${text}`);
  const answer = await askUntilHealthy({ url, timeoutMs, clock, processNow, onAnswer }, signal);
  notes.answered(answer.text);
  if (!answer.healthy) return { kind: "failed", reason: unhealthy(answer, timeoutMs, unit()?.lastEnd ?? "") };
  notes.say("healthy");
  return { kind: "done" };
}

function unhealthy(answer: ProbeAnswer, timeoutMs: number, lastEnd: string): string {
  const process = lastEnd === "" ? "" : `; its process ${lastEnd}`;
  return `the probe had no good answer within ${timeoutMs / 1_000} s; the last was: ${answer.text}${process}`;
}

function summary(state: DeployState, target: Target, previous: Release | undefined): string {
  const place = `${target.app} in ${target.environment}`;
  if (state.step === "succeeded") return `${place} is deployed`;
  if (!state.wentBack) return `${place} was not touched`;
  if (previous === undefined) return `${place} is not there any more: there was no release to go back to`;
  return state.healthy ? `${place} is back at ${shortly(previous)}` : `${place} is not healthy`;
}

/** Enough of a digest for a person to tell two apart. */
export function shortly({ digest }: Release): string {
  return digest.slice(0, 12);
}

function digestOf({ digest }: Release): Digest {
  return parseDigestKey(digest);
}
