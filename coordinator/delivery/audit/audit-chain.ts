import { hash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type AuditFault, AuditFaultSchema } from "../../../proto/gen/millrace/v1/audit_pb.ts";
import { type Event, EventSchema } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../shared/limits.ts";
import type { AuditedCall, ChainEnd, ChainLink } from "./audit-log.ts";

/** The record that follows on another one; undefined: it is the first one. */
export function recordAfter(head: ChainEnd | undefined, call: AuditedCall, nowMs: number): Event {
  const { principal, project, traceparent, method, target, outcome, detail } = call;
  const value = {
    sequence: BigInt((head?.sequence ?? 0) + 1),
    previousHash: Buffer.from(head?.hash ?? "", "hex"),
    ...{ method, outcome, broken: (call.broken ?? []).map(BigInt) },
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
  /** So many records in their place that cannot be decoded. */
  addUnreadable(count: number, reason: string): void;
  /** When all were added. */
  end(): CheckedChain;
}

/** What a check came to. */
export interface CheckedChain {
  /** That could be decoded. */
  readonly records: number;
  /** Undefined when there is none; without a hash when it cannot be decoded. */
  readonly head: ChainEnd | undefined;
  /** By the record that they are about, each record once; at most `limits.auditFaults`. */
  readonly faults: readonly AuditFault[];
  /** Records of which a mark says that they are broken. */
  readonly marked: ReadonlySet<number>;
}

export interface ChainCheckOptions {
  /** Links that are noted outside the chain: each must be in it. */
  readonly known: readonly ChainLink[];
  /** The first one that is added follows on this record, of which nothing is known; 0: it is the first of all. */
  readonly after: number;
}

export function chainCheck({ known, after }: ChainCheckOptions): ChainCheck {
  let records = 0;
  let head: ChainEnd = { sequence: after, hash: after === 0 ? "" : undefined };
  const faults = new Map<number, AuditFault>();
  const marked = new Set<number>();
  const bySequence = Map.groupBy(known, ({ sequence }) => sequence);
  const found = (sequence: number, reason: string): void => {
    if (faults.has(sequence) || faults.size >= limits.auditFaults) return;
    faults.set(sequence, create(AuditFaultSchema, { sequence: BigInt(sequence), reason }));
  };
  /** Records in the place of which something else is. */
  const skip = (count: number, reason: string): void => {
    const first = head.sequence + 1;
    head = { sequence: head.sequence + count, hash: undefined };
    found(first, `${count === 1 ? "" : `to ${head.sequence} `}${reason}`);
  };

  return {
    add(event) {
      const link = linkOf(event);
      if (link === undefined || event.kind.case !== "callAudited") return skip(1, "is no record of a call");
      const { previousHash, broken } = event.kind.value;
      records += 1;
      for (const sequence of broken) marked.add(Number(sequence));
      const missing = link.sequence - head.sequence - 1;
      if (missing > 0) skip(missing, missing === 1 ? "is not there" : "are not there");
      else if (missing < 0) found(link.sequence, "comes twice, or out of its order");
      else if (head.hash !== undefined && Buffer.from(previousHash).toString("hex") !== head.hash) {
        found(Math.max(1, link.sequence - 1), "is not as it was when the next one was written");
      }
      if (bySequence.get(link.sequence)?.some(({ hash: noted }) => noted !== link.hash)) {
        found(link.sequence, "is not as it was when its hash was noted");
      }
      head = link;
    },

    addUnreadable: (count, reason) => skip(count, `cannot be decoded: ${reason}`),

    end() {
      const last = Math.max(0, ...bySequence.keys());
      if (last > head.sequence) found(head.sequence + 1, `and all that follow are not there: there were ${last}`);
      const end = head.sequence === 0 ? undefined : head;
      return { records, head: end, faults: [...faults.values()], marked };
    },
  };
}
