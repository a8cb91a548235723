import type { DescMethod } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { from } from "../../shared/errors.ts";
import { traceparentOf } from "../../shared/trace-context.ts";
import type { AuditLog } from "../delivery/audit/audit-log.ts";
import { type Access, accessOf } from "./access.ts";

/** What is known of a call so far; filled in while it goes on. */
export interface KnownCall {
  /** Empty before it is known whose call it is. */
  principal: string;
  project: string;
  /** The first one of a stream; undefined before there is one. */
  request: unknown;
}

/**
 * Records the calls of a method: those that change something, however they end, and of all others those that were refused
 * for lack of a right. A call is answered when its record is durable. One that was done and could not be recorded fails,
 * so that nobody takes it for recorded; of one that had failed anyway the first reason counts.
 */
export function recordedCalls(method: DescMethod, { audit }: { readonly audit: Pick<AuditLog, "record"> }) {
  const access = accessOf(method);
  const name = `${method.parent.typeName}/${method.name}`;
  const record = (context: HandlerContext, call: KnownCall, end: Ending) => {
    const { principal, project } = call;
    const traceparent = traceparentOf(context.requestHeader.get("traceparent"));
    const target = call.request === undefined ? "" : access.targetOf(call.request, end.answer);
    return audit.record({ principal, project, traceparent, method: name, target, ...outcomeOf(end) });
  };
  const failed = async (context: HandlerContext, call: KnownCall, error: unknown): Promise<void> => {
    if (!isRecorded(access, call, error)) return;
    await record(context, call, { error }).catch(() => undefined); // whoever keeps the audit has been told
  };

  return {
    async single(context: HandlerContext, work: (call: KnownCall) => Promise<unknown>): Promise<unknown> {
      const call = begun();
      let answer: unknown;
      try {
        answer = await work(call);
      } catch (error) {
        await failed(context, call, error);
        throw error;
      }
      if (access.audited) await record(context, call, { answer });
      return answer;
    },

    async *stream(
      context: HandlerContext,
      work: (call: KnownCall) => AsyncGenerator<unknown>,
    ): AsyncGenerator<unknown> {
      const call = begun();
      let isLeft = true;
      try {
        yield* work(call);
        isLeft = false;
        if (access.audited) await record(context, call, {});
      } catch (error) {
        isLeft = false;
        await failed(context, call, error);
        throw error;
      } finally {
        if (isLeft && access.audited) await record(context, call, { error: left });
      }
    },
  };
}

/** How a call ended: with an answer, with an error, or (a stream) with neither. */
interface Ending {
  readonly answer?: unknown;
  readonly error?: unknown;
}

const left = { code: "canceled" } as const;

function begun(): KnownCall {
  return { principal: "", project: "", request: undefined };
}

/** Without a token there is nobody to name, and anybody could fill the log. */
function isRecorded({ audited }: Access, { principal }: KnownCall, error: unknown): boolean {
  return principal !== "" && (audited || from(error).code === "permission_denied");
}

/** Other messages repeat what somebody sent, which may be a secret in the wrong place. */
function outcomeOf({ error }: Ending): { readonly outcome: string; readonly detail: string } {
  if (error === undefined) return { outcome: "ok", detail: "" };
  if (error === left) return { outcome: left.code, detail: "who had asked has left" };
  const { code, message } = from(error);
  const isRefusal = code === "permission_denied" || code === "failed_precondition";
  return { outcome: code, detail: isRefusal ? message : "" };
}
