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
import type { ExecutionOutcome, ExecutionRequest, Scheduler } from "../../farm/scheduler/scheduler.ts";
import { awaitedExecutions } from "../awaited-executions.ts";
import type { RunSource } from "./run-source.ts";
import { type ImportRequest, importId, isImport, type OnImportProgress, type SourceImports } from "./source-imports.ts";

export interface FarmImportsDeps {
  readonly scheduler: Pick<Scheduler, "submit" | "cancel" | "forget" | "subscribe" | "stats">;
  readonly agents: Pick<AgentRegistry, "subscribe">;
  readonly cas: Cas;
  /** Never the same twice. */
  readonly newId: () => string;
  readonly onError: (error: unknown) => void;
}

/** An import that goes on. */
interface Ongoing {
  readonly tell: OnImportProgress;
  agent: string;
}

/** Imports as executions of the farm: placed like tasks, on agents that have git, and again when one is lost. */
export function farmImports({ scheduler, agents, cas, newId, onError }: FarmImportsDeps): SourceImports & Component {
  const what = "imports of sources";
  const executions = awaitedExecutions({
    ...{ scheduler, what, isOwn: isImport, waitingMax: limits.importsWaiting, onError },
  });
  /** By execution. */
  const ongoing = new Map<string, Ongoing>();
  let end: (() => void) | undefined;

  function onAgent(change: AgentChange): void {
    if (change.kind !== "heartbeat") return;
    for (const { executionId, importPhase } of change.held) {
      const known = ongoing.get(executionId);
      if (known === undefined || known.agent !== change.agent.info.id) continue;
      const state = stateOf(importPhase);
      if (state !== undefined) known.tell(state, known.agent);
    }
  }

  return {
    name: what,
    async start() {
      await executions.start?.();
      end = agents.subscribe(onAgent);
    },
    async stop() {
      end?.();
      await executions.stop?.();
    },

    async import(request, signal, onProgress) {
      const id = importId(newId());
      const one: Ongoing = { tell: onProgress, agent: "" };
      ongoing.set(id, one);
      const watch = {
        onWaiting: (detail: string) => onProgress(ImportState.WAITING, forPerson(detail)),
        onStarted: (agent: string) => void (one.agent = agent),
      };
      try {
        return await sourceOf(cas, request, await executions.run(executionOf(id, request), signal, watch), signal);
      } finally {
        ongoing.delete(id);
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
