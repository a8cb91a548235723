/**
 * Calls the first step at the first SIGINT or SIGTERM, the next at the next, and the last at all that follow. The
 * function it gives ends this: signals end the process again.
 */
export function onInterrupts(steps: readonly (() => void)[]): () => void {
  let count = 0;
  const handler = () => {
    steps[Math.min(count, steps.length - 1)]?.();
    count += 1;
  };
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) process.on(signal, handler);
  return () => {
    for (const signal of signals) process.off(signal, handler);
  };
}
