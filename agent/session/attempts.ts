import { create } from "@bufbuild/protobuf";
import {
  type Assign,
  type AssignReply,
  AssignReplySchema,
  type Cancel,
  type CancelReply,
  CancelReplySchema,
  type Epoch,
  EpochSchema,
  type HeldExecution,
  HeldExecutionSchema,
  ImportPhase,
  type Report,
} from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../shared/clock.ts";
import { digestFromMessage } from "../../shared/digest.ts";
import { from, type MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { type Assignment, Stopped, taskTime } from "../executor/executor.ts";
import type { ReportingExecutor } from "../executor/reporting-executor.ts";
import type { Outbox } from "../outbox/outbox.ts";

/** What the agent has taken on. Answers are given at once; the work goes on behind. */
export interface Attempts {
  assign(message: Assign): AssignReply;
  /** Goes on with a host operation that an earlier start of the agent had taken. */
  resume(message: Assign): void;
  cancel(message: Cancel): CancelReply;
  /** Everything that runs or whose report is on its way. */
  held(): HeldExecution[];
  /** Takes nothing new from now on: it will end. */
  drain(): void;
  /** Takes nothing new until it is called with false: somebody asked for it. */
  pause(paused: boolean): void;
  /** The farm has let it in for one assignment. */
  becomeEphemeral(): void;
  /** Whether for either reason. */
  draining(): boolean;
  /** Ends all that runs. */
  stopAll(reason: Stopped): void;
  /** Ends the host operations: what they have done is taken back. */
  endOperations(reason: Stopped): void;
  /** Ends the processes that must not run twice: the farm may count them as lost by now. */
  endAtMostOnce(reason: Stopped): void;
  /** Resolves when nothing runs any more, or the signal aborts. */
  idle(signal: AbortSignal): Promise<void>;
}

export interface AttemptsOptions {
  readonly slots: number;
  /** It takes one assignment and no other. */
  readonly ephemeral?: boolean;
  /** Told when the report of an ephemeral agent's one assignment is in the outbox. */
  readonly onSpent?: (() => void) | undefined;
  readonly executor: ReportingExecutor;
  readonly outbox: Pick<Outbox, "put" | "held">;
  /** Told when the report on a host operation is in the outbox; must not throw. */
  readonly forgetOperation?: (report: Report) => Promise<void>;
  /** Told when a host operation goes on under the epoch of this message; must not throw. */
  readonly operationTakenOver?: (message: Assign) => Promise<void>;
  readonly clock: Clock;
  /** Told after each acceptance and each end. */
  readonly onChange: () => void;
  readonly onError: (error: MillraceError) => void;
}

/** What an assignment asks for beside its Action. */
type Begun = Pick<Assign, "atMostOnce" | "sourceImport">;

interface Attempt {
  readonly executionId: string;
  /** Of a host operation it may grow: a later placement takes over what runs already. */
  epoch: Epoch;
  attempt: number;
  readonly isOperation: boolean;
  /** Of a host operation: what its journal is or will be given. */
  readonly message: Assign | undefined;
  readonly stop: AbortController;
  /** Of one at most once; see AtMostOnce. */
  readonly lapse: AbortController | undefined;
  /** Of an import. */
  importPhase: ImportPhase;
}

export function attempts(options: AttemptsOptions): Attempts {
  const { slots, onSpent, executor, outbox, forgetOperation, clock, onChange, onError } = options;
  /** At most `slots`. */
  const running = new Set<Attempt>();
  const idleWaiters = new Set<() => void>();
  let draining = false;
  let paused = false;
  let ephemeral = options.ephemeral ?? false;

  async function run(attempt: Attempt, assignment: Assignment): Promise<void> {
    const report = await executor.execute(assignment, attempt.stop.signal);
    const stopped: unknown = attempt.stop.signal.reason;
    const isCutShort = report.ending?.kind === EndingKind.INFRASTRUCTURE && stopped instanceof Stopped;
    // The journal has it, and the next start of the agent goes on.
    if (!(attempt.isOperation && isCutShort)) {
      report.epoch = attempt.epoch;
      report.attempt = attempt.attempt;
      const isKept = await keep(report, attempt.isOperation);
      if (isKept && attempt.isOperation) await forgetOperation?.(report);
    }
    running.delete(attempt);
    if (running.size === 0) for (const tell of idleWaiters) tell();
    onChange();
    if (ephemeral) onSpent?.();
  }

  /** The outbox must have it before the slot is free, or nobody would hold the execution. */
  async function keep(report: Report, isOperation: boolean): Promise<boolean> {
    try {
      // A host operation is forgotten by its journal only when its end is on disk.
      await outbox.put(report, { evenUnsaved: !isOperation });
      return true;
    } catch (error) {
      // The disk refuses. The execution is held no longer, so the coordinator will place it anew.
      onError(from(error));
      return false;
    }
  }

  function begin(assignment: Assignment, { atMostOnce: isOnce, sourceImport }: Begun): void {
    const { executionId, epoch, attempt: number, operation } = assignment;
    const stop = new AbortController();
    const lapse = isOnce ? new AbortController() : undefined;
    const isOperation = operation !== undefined;
    const importPhase = ImportPhase.UNSPECIFIED;
    const attempt: Attempt = {
      ...{ executionId, epoch, attempt: number, isOperation, message: operation, stop, lapse, importPhase },
    };
    const once = lapse === undefined ? {} : { once: { lapse: lapse.signal, isBegun: false } };
    const tell = (phase: ImportPhase) => {
      attempt.importPhase = phase;
      onChange();
    };
    const importing = sourceImport === undefined ? {} : { importing: { request: sourceImport, tell } };
    running.add(attempt);
    if (ephemeral) draining = true;
    onChange();
    setImmediate(() => void run(attempt, { ...assignment, ...once, ...importing })); // the answer goes first
  }

  /** A host operation is not begun again under a greater epoch: the one that runs is the one that was meant. */
  function takeOver({ executionId, epoch, attempt: number, operation }: Assignment): boolean {
    const older = [...running].find((attempt) => attempt.isOperation && attempt.executionId === executionId);
    if (operation === undefined || older === undefined || compareEpochs(older.epoch, epoch) >= 0) return false;
    older.epoch = epoch;
    older.attempt = number;
    // It may still wait for its turn, and be journaled only then.
    if (older.message !== undefined) Object.assign(older.message, { epoch, attempt: number });
    void options.operationTakenOver?.(operation);
    onChange();
    return true;
  }

  /** Why the assignment is not taken; undefined when it is. */
  function refusal({ executionId, epoch }: { executionId: string; epoch: Epoch }): string | undefined {
    if (draining || paused) return "the agent is draining";
    if (running.size >= slots) return `all ${slots} slots are taken`;
    for (const held of [...running, ...outbox.held()]) {
      if (held.executionId === executionId && held.epoch !== undefined && compareEpochs(held.epoch, epoch) >= 0) {
        return `${executionId} is held already`;
      }
    }
    return undefined;
  }

  return {
    assign(message) {
      try {
        const assignment = assignmentFrom(message, clock);
        if (takeOver(assignment)) return create(AssignReplySchema, { accepted: true });
        const why = refusal(assignment);
        if (why !== undefined) return create(AssignReplySchema, { accepted: false, refusal: why });
        // An older epoch of the same execution is fenced: its slot is better given back.
        for (const older of running) {
          if (older.executionId !== assignment.executionId) continue;
          older.stop.abort(new Stopped(EndingKind.CANCELLED, "it was placed anew", limits.killGraceMs));
        }
        begin(assignment, message);
        return create(AssignReplySchema, { accepted: true });
      } catch (error) {
        return create(AssignReplySchema, { accepted: false, refusal: from(error, "reading the assignment").message });
      }
    },
    resume: (message) => begin(assignmentFrom(message, clock), { atMostOnce: false }),
    cancel({ executionId, epoch, reason }) {
      let known = outbox.held().some((held) => held.executionId === executionId);
      for (const attempt of running) {
        // A cancel that was meant for an older placement must not end a newer one.
        if (attempt.executionId !== executionId || (epoch !== undefined && compareEpochs(attempt.epoch, epoch) > 0))
          continue;
        known = true;
        attempt.stop.abort(new Stopped(EndingKind.CANCELLED, reason, limits.killGraceMs));
      }
      return create(CancelReplySchema, { known });
    },
    held() {
      const runs = [...running].map(({ executionId, epoch, importPhase }) =>
        create(HeldExecutionSchema, { executionId, epoch, importPhase }),
      );
      return [...runs, ...outbox.held()];
    },
    drain() {
      draining = true;
      onChange();
    },
    pause(wanted) {
      if (paused === wanted) return;
      paused = wanted;
      onChange();
    },
    becomeEphemeral() {
      ephemeral = true;
    },
    draining: () => draining || paused,
    stopAll(reason) {
      for (const { stop } of running) stop.abort(reason);
    },
    endOperations(reason) {
      for (const { stop, isOperation } of running) if (isOperation) stop.abort(reason);
    },
    endAtMostOnce(reason) {
      for (const { lapse } of running) lapse?.abort(reason);
    },
    idle(signal) {
      if (running.size === 0 || signal.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const done = () => {
          idleWaiters.delete(done);
          signal.removeEventListener("abort", done);
          resolve();
        };
        idleWaiters.add(done);
        signal.addEventListener("abort", done);
      });
    },
  };
}

/** @throws MillraceError invalid_argument when a digest is none */
function assignmentFrom(message: Assign, clock: Clock): Assignment {
  return {
    executionId: message.executionId,
    epoch: message.epoch ?? create(EpochSchema),
    attempt: message.attempt,
    actionDigest: digestFromMessage(message.actionDigest, "action_digest"),
    blobs: message.blobs.map(({ digest, data }) => ({ digest: digestFromMessage(digest, "digest of a blob"), data })),
    volatileEnvironment: message.volatileEnvironment,
    time: taskTime(clock),
    ...(message.namedCaches === undefined ? {} : { caches: message.namedCaches }),
    ...(message.hostOperation === undefined ? {} : { operation: message }),
    ...(message.sealedSecrets === undefined ? {} : { sealedSecrets: message.sealedSecrets }),
  };
}

/** Negative when `a` is older. */
function compareEpochs(a: Epoch, b: Epoch): number {
  const difference = a.term === b.term ? a.number - b.number : a.term - b.term;
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}
