import { expect, vi } from "vitest";
import type { Bus } from "../../shared/bus/bus.ts";
import { limits } from "../../shared/limits.ts";

/** Floods a bus on a NATS server: all of it is heard, in order, in no more turns of the loop than a busy socket is given. */
export async function expectShares(sender: Bus, receiver: Bus): Promise<void> {
  let turn = 0;
  const heard: number[] = [];
  const turnsHeard = new Set<number>();
  await receiver.subscribe("news", ({ data }) => {
    heard.push(Buffer.from(data).readUInt32LE());
    turnsHeard.add(turn);
  });
  const start = performance.now();
  for (; turn < 3_000; turn += 1) {
    const message = Buffer.alloc(4);
    message.writeUInt32LE(turn);
    sender.publish("news", message);
    await new Promise(setImmediate);
  }
  await vi.waitUntil(() => heard.length === turn, 5_000);
  expect(heard).toEqual(heard.map((_, index) => index));
  const shares = limits.busSharesAtOnce + (performance.now() - start) / limits.busShareMs;
  expect(turnsHeard.size).toBeLessThan(2 + shares);
}
