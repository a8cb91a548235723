import { create, toBinary } from "@bufbuild/protobuf";
import {
  type ActionResult,
  ActionSchema,
  CommandSchema,
} from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ImportPhase, SourceImportSchema, TaskSecretsSchema } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind, GitSourceSchema } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { ImportState } from "../../../proto/gen/millrace/v1/run_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import { readMessage } from "../../../shared/cas/read-blob.ts";
import { digestFromMessage, digestOf, digestToMessage, emptyDigest } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import type { Component } from "../../../shared/lifecycle.ts";
import { limits } from "../../../shared/limits.ts";
import { importProperty, repositoryCredentials } from "../../../shared/source/import-property.ts";
import type { AgentChange, AgentRegistry } from "../../farm/agents/agent-registry.ts";
import type { ExecutionOutcome, ExecutionRequest, ExecutionUpdate, Scheduler } from "../../farm/scheduler/scheduler.ts";
import type { RunSource } from "./run-source.ts";
import { type ImportRequest, importId, type OnImportProgress, type SourceImports } from "./source-imports.ts";

export interface FarmImportsDeps {
  readonly scheduler: Pick<Scheduler, "submit" | "cancel" | "forget" | "subscribe">;
  readonly agents: Pick<AgentRegistry, "subscribe">;
  readonly cas: Cas;
  /** Never the same twice. */
  readonly newId: () => string;
  readonly onError: (error: unknown) => void;
}

/** Somebody who waits for an import. */
interface Waiting {
  readonly tell: OnImportProgress;
  readonly settle: (outcome: ExecutionOutcome) => void;
  agent: string;
}

/** Imports as executions of the farm: placed like tasks, on agents that have git, and again when one is lost. */
export function farmImports({ scheduler, agents, cas, newId, onError }: FarmImportsDeps): SourceImports & Component {
  /** By execution; at most `limits.importsWaiting`. */
  const waiting = new Map<string, Waiting>();
  const ends: (() => void)[] = [];

  function onUpdate(update: ExecutionUpdate): void {
    const known = waiting.get(update.id);
    if (known === undefined) return;
    if (update.kind === "waiting") known.tell(ImportState.WAITING, forPerson(update.detail));
    else if (update.kind === "started") known.agent = update.agent;
    else {
      waiting.delete(update.id);
      known.settle(update.outcome);
      scheduler.forget(update.id).catch(onError);
    }
  }

  function onAgent(change: AgentChange): void {
    if (change.kind !== "heartbeat") return;
    for (const { executionId, importPhase } of change.held) {
      const known = waiting.get(executionId);
      if (known === undefined || known.agent !== change.agent.info.id) continue;
      const state = stateOf(importPhase);
      if (state !== undefined) known.tell(state, known.agent);
    }
  }

  return {
    name: "imports of sources",
    async start() {
      ends.push(scheduler.subscribe(onUpdate), agents.subscribe(onAgent));
    },
    async stop() {
      for (const end of ends) end();
    },

    async import(request, signal, onProgress) {
      signal.throwIfAborted();
      if (waiting.size >= limits.importsWaiting) {
        throw new MillraceError("resource_exhausted", `${waiting.size} imports of sources wait; try again later`);
      }
      const id = importId(newId());
      const { promise, resolve, reject } = Promise.withResolvers<ExecutionOutcome>();
      promise.catch(() => {}); // it may be rejected before anybody awaits it
      waiting.set(id, { tell: onProgress, settle: resolve, agent: "" });
      const leave = () => {
        reject(signal.reason);
        if (!waiting.has(id)) return; // it has ended, and its source is being read
        // Whoever waited is gone at once; the execution is forgotten when it has ended.
        waiting.set(id, { tell() {}, settle() {}, agent: "" });
        scheduler.cancel(id, "nobody waits for this import any more");
      };
      signal.addEventListener("abort", leave, { once: true });
      try {
        await scheduler.submit(executionOf(id, request)).catch((error: unknown) => {
          waiting.delete(id);
          throw error;
        });
        return await sourceOf(cas, request, await promise, signal);
      } finally {
        signal.removeEventListener("abort", leave);
      }
    },
  };
}

/** A person knows git, and not the property that stands for it. */
function forPerson(detail: string): string {
  return detail.replace(`${importProperty}=true`, "git");
}

function stateOf(phase: ImportPhase): ImportState | undefined {
  if (phase === ImportPhase.FETCHING) return ImportState.FETCHING;
  return phase === ImportPhase.UPLOADING ? ImportState.UPLOADING : undefined;
}

/** An Action only in form: what to do is in the SourceImport, and no process is started for it. */
function executionOf(id: string, { project, credentialsSecret, ...request }: ImportRequest): ExecutionRequest {
  const command = create(CommandSchema, { arguments: ["import", request.url, request.ref] });
  const action = create(ActionSchema, {
    commandDigest: digestToMessage(digestOf(toBinary(CommandSchema, command))),
    inputRootDigest: digestToMessage(emptyDigest),
    doNotCache: true,
    platform: { properties: [{ name: importProperty, value: "true" }] },
  });
  return {
    ...{ id, action, command, actionDigest: digestOf(toBinary(ActionSchema, action)) },
    // A run waits for it, and often a person; it takes seconds.
    priority: limits.importPriority,
    fairGroup: "imports",
    volatileEnvironment: {},
    ...secretsOf(project, credentialsSecret),
    sourceImport: create(SourceImportSchema, { ...request, previous: [...request.previous] }),
  };
}

/** Sealed to the agent when it is chosen, like those of tasks. */
function secretsOf(project: string, secret: string) {
  if (secret === "") return {};
  return { secrets: create(TaskSecretsSchema, { project, secrets: [{ secret, env: repositoryCredentials }] }) };
}

async function sourceOf(
  cas: Cas,
  { url }: ImportRequest,
  { ending, result }: ExecutionOutcome,
  signal: AbortSignal,
): Promise<RunSource> {
  const { kind, exitCode, detail } = ending;
  if (kind === EndingKind.EXITED && exitCode === 0 && result !== undefined)
    return await readSource(cas, result, signal);
  // Not `unavailable`: the farm has tried several times, and to ask at once for the same would do no better.
  const code = kind === EndingKind.REFUSED ? "invalid_argument" : "failed_precondition";
  throw new MillraceError(code, `importing ${url}: ${detail === "" ? "it came to nothing" : detail}`);
}

async function readSource(cas: Cas, result: ActionResult, signal: AbortSignal): Promise<RunSource> {
  const root = digestFromMessage(result.outputDirectories[0]?.rootDirectoryDigest, "the root of the imported tree");
  const about = digestFromMessage(result.outputFiles[0]?.digest, "the description of the imported commit");
  return { root, git: await readMessage(cas, GitSourceSchema, about, signal) };
}
