import type { ExecutionRequest, ExecutionUpdate } from "../../coordinator/farm/scheduler/scheduler.ts";
import type { EndingKind } from "../../proto/gen/millrace/v1/event_pb.ts";
import { from } from "../../shared/errors.ts";
import type { Judge } from "./judge.ts";
import type { Reign } from "./sim-coordinator.ts";
import type { World } from "./world.ts";

/** An execution that this world wants. */
export interface Wanted {
  readonly request: ExecutionRequest;
  readonly fromMs: number;
  readonly cancelAtMs?: number;
  /** It is cancelled only when no agent has it then. */
  readonly isTakenBack?: boolean;
}

/** Does what the delivery half does: submits again what has no end yet, after each start, and forgets what has. */
export interface Submitter {
  serve(reign: Reign): void;
  /** Those that have no end. */
  open(): string[];
  /** How often each kind of end came. */
  readonly endings: ReadonlyMap<EndingKind, number>;
}

export function submitter(world: World, wanted: readonly Wanted[], judge: Judge): Submitter {
  const open = new Map(wanted.map((each) => [each.request.id, each]));
  const endings = new Map<EndingKind, number>();

  function serve({ scheduler, process }: Reign): void {
    const onUpdate = (update: ExecutionUpdate): void => {
      if (update.kind !== "finished") return;
      judge.told(update.id, update.outcome);
      if (open.delete(update.id)) {
        const { kind } = update.outcome.ending;
        endings.set(kind, (endings.get(kind) ?? 0) + 1);
      }
      forget(update.id);
    };

    function forget(id: string): void {
      scheduler.forget(id).catch((error: unknown) => {
        judge.error(error);
        process.clock.after(1_000, () => forget(id));
      });
    }

    function submit(each: Wanted): void {
      const { request, cancelAtMs, isTakenBack } = each;
      if (!open.has(request.id)) return;
      const due = cancelAtMs === undefined ? Number.POSITIVE_INFINITY : cancelAtMs - process.clock.monotonicMs();
      const only = isTakenBack === true ? "unbegun" : undefined;
      const cancel = (): void => scheduler.cancel(request.id, "nobody wants it", only);
      scheduler.submit(request).catch((error: unknown) => {
        judge.error(from(error));
        process.clock.after(1_000, () => submit(each));
      });
      if (due <= 0) cancel();
      else if (Number.isFinite(due)) process.clock.after(due, cancel);
    }

    scheduler.subscribe((update) => process.deliver(() => onUpdate(update)));
    const nowMs = world.clock.monotonicMs();
    for (const each of wanted) process.clock.after(Math.max(0, each.fromMs - nowMs), () => submit(each));
    for (const id of scheduler.stats().concluded) if (!open.has(id)) forget(id);
  }

  return { serve, open: () => [...open.keys()], endings };
}
