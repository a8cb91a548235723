import type { Socket } from "node:net";
import type { Clock } from "../clock.ts";
import { limits } from "../limits.ts";

/**
 * Hands over what a busy socket has read in shares, `limits.busShareMs` apart; what comes in between waits for the next. Else,
 * of what 5,000 agents cost that beat 2,500 times a second, two fifths would be waking up for one or two of them at a time.
 * A socket with fewer reads than that hands each over at once, and so does any for the first `limits.busSharesAtOnce` after
 * it was quiet.
 *
 * @param socket with its reader on it already
 */
export function paceReads(socket: Socket, clock: Pick<Clock, "monotonicMs" | "after">): void {
  /** How many may follow without a pause. */
  let credit: number = limits.busSharesAtOnce;
  let lastMs = clock.monotonicMs();
  /** What comes now belongs to a share that has begun: with TLS, also after reading was stopped. */
  let isInShare = false;

  function endShare(): void {
    const nowMs = clock.monotonicMs();
    credit = Math.min(limits.busSharesAtOnce, credit + (nowMs - lastMs) / limits.busShareMs) - 1;
    lastMs = nowMs;
    if (credit >= 0) return void (isInShare = false);
    handleOf(socket)?.readStop();
    clock.after(limits.busShareMs, () => {
      isInShare = false;
      handleOf(socket)?.readStart();
    });
  }

  socket.on("data", () => {
    if (isInShare) return;
    isInShare = true;
    process.nextTick(endShare);
  });
}

/**
 * What reads for the socket; undefined when it is closed. `pause` would not do: Node goes on reading, and waking up, until
 * 64 KiB wait for whoever has paused.
 */
function handleOf(socket: Socket): { readStop(): void; readStart(): void } | undefined {
  return (socket as unknown as { _handle?: { readStop(): void; readStart(): void } | null })._handle ?? undefined;
}
