import type { AuditFault, AuditRecord } from "../../../proto/gen/millrace/v1/audit_pb.ts";

/** A call that was made, or refused. */
export interface AuditedCall {
  /** Of who made it. */
  readonly principal: string;
  readonly project: string;
  readonly traceparent: string;
  /** `<service>/<method>`. */
  readonly method: string;
  readonly target: string;
  /** `ok`, or the code with which it was refused. */
  readonly outcome: string;
  /** For a person; never a secret, and cut off at `limits.auditDetailChars`. */
  readonly detail: string;
  /** No call, but a mark: these records were found not to be as they were written. */
  readonly broken?: readonly number[];
}

/** Which records, newest first. */
export interface AuditSelection {
  /** Only records with a smaller sequence; undefined: from the newest on. */
  readonly before: number | undefined;
  /** Wall time; undefined: all. */
  readonly sinceMs: number | undefined;
  /** Undefined: all, and those of none. */
  readonly project: string | undefined;
  readonly limit: number;
}

/** Some records, and where to go on; undefined when there are no more. */
export interface AuditPage {
  readonly records: readonly AuditRecord[];
  readonly next: number | undefined;
}

/** A record of a chain by its place, and its hash in hex. */
export interface ChainLink {
  readonly sequence: number;
  readonly hash: string;
}

/** As far as a chain goes; its last record has no hash when it cannot be decoded. */
export interface ChainEnd {
  readonly sequence: number;
  readonly hash: string | undefined;
}

/** What reading all records again came to. */
export interface AuditVerdict {
  /** That could be decoded. */
  readonly records: number;
  readonly head: ChainEnd | undefined;
  /** By the record that they are about; at most `limits.auditFaults`. */
  readonly faults: readonly AuditFault[];
}

/** Who changed what: records that are added and never changed. Methods may be called concurrently. */
export interface AuditLog {
  /**
   * Resolves when it is durable; those that come while others are written share their next write. Throws
   * `resource_exhausted` when more than `limits.auditPending` wait.
   */
  record(call: AuditedCall): Promise<void>;
  /** May give fewer than there are, and none, with a place to go on: it reads a bounded part of the log. */
  page(selection: AuditSelection): Promise<AuditPage>;
  /** Reads all of it. `expected` is a link that somebody noted elsewhere. */
  verify(expected?: ChainLink): Promise<AuditVerdict>;
}
