import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ActionSchema, CommandSchema } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  AssignReplySchema,
  AssignSchema,
  CancelReplySchema,
  CancelSchema,
  type Epoch as EpochMessage,
  EpochSchema,
  type Report,
  ReportOutcome,
  ReportReplySchema,
  ReportSchema,
} from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import type { Bus, BusMessage } from "../../../shared/bus/bus.ts";
import { subjects } from "../../../shared/bus/subjects.ts";
import { digestOf, digestToMessage } from "../../../shared/digest.ts";
import { from } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { Epoch, Lease } from "./execution-table.ts";
import type { ExecutionRequest } from "./scheduler.ts";
import type { Sealing, SecretSealer } from "./secret-sealer.ts";

/** What came of handing an execution to an agent. */
export type AssignAnswer =
  | { readonly kind: "accepted" }
  /** It does not have it: it said so, or nothing was delivered. */
  | { readonly kind: "refused"; readonly why: string }
  /** No agent will ever take it; none was asked. */
  | { readonly kind: "impossible"; readonly why: string }
  /**
   * No answer: the agent may have it or not. Where the bus went down with the question on its way (`outage`), the agent
   * says so as soon as the bus is back; where it kept silent, only a new epoch makes that safe.
   */
  | { readonly kind: "outage" | "silence"; readonly why: string };

/** Speaks to agents over the bus. */
export interface Dispatcher {
  assign(request: ExecutionRequest, lease: Lease): Promise<AssignAnswer>;
  /** Best effort: what is not heard is said again at the agent's next heartbeat. */
  cancel(agentId: string, executionId: string, epoch: Epoch, reason: string): Promise<void>;
}

/** @param sealer seals the secrets of those that use some; without one they cannot be handed out */
export function busDispatcher(bus: Bus, sealer?: SecretSealer): Dispatcher {
  let isUp = false;
  let losses = 0;
  bus.watchConnection((up) => {
    if (!up) losses += 1;
    isUp = up;
  });

  /** What is known of a request that failed: it may have reached the agent all the same. */
  function failureOf(error: unknown, before: { wasUp: boolean; losses: number }): "refused" | "outage" | "silence" {
    const { code } = from(error);
    if (before.wasUp && losses !== before.losses) return "outage";
    return code === "deadline_exceeded" ? "silence" : "refused";
  }

  /** Read now and not when it was submitted: a new value counts at once. */
  async function sealed({ id, secrets }: ExecutionRequest, lease: Lease): Promise<Sealing | undefined> {
    if (secrets === undefined) return undefined;
    if (sealer === undefined) return { kind: "impossible", why: "this coordinator keeps no secrets" };
    try {
      return await sealer.seal(secrets, { ...lease, executionId: id });
    } catch (error) {
      const { code, message } = from(error, "sealing its secrets");
      return { kind: code === "data_loss" ? "impossible" : "unfit", why: message };
    }
  }

  return {
    async assign(request, lease) {
      const sealing = await sealed(request, lease);
      if (sealing?.kind === "unfit") return { ...sealing, kind: "refused" };
      if (sealing?.kind === "impossible") return sealing;
      const message = create(AssignSchema, {
        executionId: request.id,
        epoch: epochToMessage(lease.epoch),
        attempt: lease.attempt,
        actionDigest: digestToMessage(request.actionDigest),
        blobs: inlined(
          [toBinary(ActionSchema, request.action), toBinary(CommandSchema, request.command)],
          limits.assignInlineBytes - (sealing?.sealed.ciphertext.byteLength ?? 0),
        ),
        volatileEnvironment: { ...request.volatileEnvironment },
        ...(request.namedCaches === undefined ? {} : { namedCaches: request.namedCaches }),
        ...(request.hostOperation === undefined ? {} : { hostOperation: request.hostOperation }),
        ...(request.atMostOnce === undefined ? {} : { atMostOnce: request.atMostOnce }),
        ...(sealing === undefined ? {} : { sealedSecrets: sealing.sealed }),
        ...(request.sourceImport === undefined ? {} : { sourceImport: request.sourceImport }),
      });
      const before = { wasUp: isUp, losses };
      try {
        const answer = await bus.request(subjects.assign(lease.agentId), toBinary(AssignSchema, message), {
          timeoutMs: limits.assignTimeoutMs,
        });
        const reply = fromBinary(AssignReplySchema, answer);
        return reply.accepted ? { kind: "accepted" } : { kind: "refused", why: reply.refusal };
      } catch (error) {
        return { kind: failureOf(error, before), why: from(error).message };
      }
    },

    async cancel(agentId, executionId, epoch, reason) {
      const message = create(CancelSchema, { executionId, epoch: epochToMessage(epoch), reason });
      const answer = await bus
        .request(subjects.cancel(agentId), toBinary(CancelSchema, message), { timeoutMs: limits.assignTimeoutMs })
        .catch((error: unknown) => {
          const { code } = from(error);
          if (code !== "unavailable" && code !== "deadline_exceeded") throw error;
          return undefined;
        });
      if (answer !== undefined) fromBinary(CancelReplySchema, answer);
    },
  };
}

/** The Action and its Command travel with the assignment as far as they fit: the agent need not ask for them. */
function inlined(blobs: readonly Uint8Array[], roomBytes: number) {
  let room = roomBytes;
  return blobs
    .filter((data) => {
      const fits = data.byteLength <= room;
      if (fits) room -= data.byteLength;
      return fits;
    })
    .map((data) => ({ digest: digestToMessage(digestOf(data)), data }));
}

function epochToMessage({ term, number }: Epoch): EpochMessage {
  return create(EpochSchema, { term: BigInt(term), number: BigInt(number) });
}

/** Whether a message speaks of this epoch. */
export function isEpoch(message: EpochMessage | undefined, epoch: Epoch): boolean {
  return message?.term === BigInt(epoch.term) && message.number === BigInt(epoch.number);
}

/** An epoch from a message. */
export function epochOf({ term, number }: EpochMessage): Epoch {
  return { term: Number(term), number: Number(number) };
}

/**
 * Answers agents' reports with what `accept` makes of them; one that throws is not answered, and the agent sends it
 * again. Resolves with the way to end it.
 */
export async function serveReports(
  bus: Bus,
  accept: (report: Report) => Promise<boolean>,
  onError: (error: unknown) => void,
): Promise<() => void> {
  const answer = async ({ subject, data, reply }: BusMessage): Promise<void> => {
    const report = fromBinary(ReportSchema, data);
    // An agent publishes on its own subject alone: what it says of itself must fit.
    const accepted = subject === subjects.report(report.agentId) && (await accept(report));
    const outcome = accepted ? ReportOutcome.ACCEPTED : ReportOutcome.FENCED;
    reply(toBinary(ReportReplySchema, create(ReportReplySchema, { outcome })));
  };
  return await bus.subscribe(subjects.report("*"), (message) => {
    answer(message).catch(onError);
  });
}
