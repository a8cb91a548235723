import { hash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type AuditFault, AuditFaultSchema } from "../../../proto/gen/millrace/v1/audit_pb.ts";
import { type Event, EventSchema } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../shared/limits.ts";
import type { AuditedCall, ChainLink } from "./audit-log.ts";

/** The record that follows on a link; undefined is the first one. */
export function recordAfter(head: ChainLink | undefined, call: AuditedCall, nowMs: number): Event {
  const { principal, project, traceparent, method, target, outcome, detail } = call;
  const value = {
    sequence: BigInt((head?.sequence ?? 0) + 1),
    previousHash: head === undefined ? new Uint8Array() : Buffer.from(head.hash, "hex"),
    ...{ method, outcome },
    target: target.slice(0, limits.auditTargetChars),
    detail: detail.slice(0, limits.auditDetailChars),
  };
  const time = timestampFromMs(nowMs);
  return create(EventSchema, { time, principal, project, traceparent, kind: { case: "callAudited", value } });
}

/** The link that a record is; undefined for an event that is none. */
export function linkOf(event: Event): ChainLink | undefined {
  if (event.kind.case !== "callAudited") return undefined;
  // The form in which it is kept may change; what it says may not.
  const said = create(EventSchema, { ...event, version: 0 });
  return { sequence: Number(event.kind.value.sequence), hash: hash("sha256", toBinary(EventSchema, said)) };
}

/** Compares records with what others say of them, in order and one after the other. */
export interface ChainCheck {
  add(event: Event): void;
  /** When all were added. */
  end(): { readonly records: number; readonly head: ChainLink | undefined; readonly fault: AuditFault | undefined };
}

/** @param known links that are noted outside the chain: each must be in it */
export function chainCheck(known: readonly ChainLink[]): ChainCheck {
  let head: ChainLink | undefined;
  let records = 0;
  let fault: AuditFault | undefined;
  const bySequence = new Map<number, ChainLink[]>();
  for (const link of known) bySequence.set(link.sequence, [...(bySequence.get(link.sequence) ?? []), link]);
  const found = (sequence: number, reason: string): void => {
    fault ??= create(AuditFaultSchema, { sequence: BigInt(sequence), reason });
  };

  return {
    add(event) {
      const link = linkOf(event);
      const expected = (head?.sequence ?? 0) + 1;
      if (link === undefined || event.kind.case !== "callAudited") return found(expected, "is no record of a call");
      records += 1;
      if (link.sequence > expected) {
        const last = link.sequence - 1;
        found(expected, expected === last ? "is not there" : `to ${last} are not there`);
      } else if (link.sequence < expected) found(link.sequence, "comes twice, or out of its order");
      else if (Buffer.from(event.kind.value.previousHash).toString("hex") !== (head?.hash ?? "")) {
        found(Math.max(1, link.sequence - 1), "is not as it was when the next one was written");
      }
      if (bySequence.get(link.sequence)?.some(({ hash: noted }) => noted !== link.hash)) {
        found(link.sequence, "is not as it was when its hash was noted");
      }
      head = link;
    },
    end() {
      const last = Math.max(0, ...bySequence.keys());
      if (last > (head?.sequence ?? 0))
        found((head?.sequence ?? 0) + 1, `and all that follow are not there: there were ${last}`);
      return { records, head, fault };
    },
  };
}
