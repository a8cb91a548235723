import { limits } from "../../shared/limits.ts";

/**
 * For a child of `millrace up`: when the channel to the supervisor ends, the supervisor is gone, however that happened,
 * and the child stops as if asked by SIGTERM. Should that take too long it ends at once.
 */
export function stopWithParent(): void {
  process.once("disconnect", () => {
    setTimeout(() => process.exit(1), limits.orphanMs).unref();
    process.kill(process.pid, "SIGTERM");
  });
  process.channel?.unref(); // The channel alone is no reason to stay.
}
