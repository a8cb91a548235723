import { expect, onTestFinished, test, vi } from "vitest";
import { firstConnection } from "../../../coordinator/first-connection.ts";
import { systemClock } from "../../../shared/clock.ts";
import type { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { failure } from "../../support/codes.ts";
import { startNatsServer } from "../../support/nats-server.ts";

/** A clock that says that much more time has passed than it was. */
function lateClock() {
  let lateMs = 0;
  return {
    clock: { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + lateMs },
    beLate(ms: number) {
      lateMs = ms;
    },
  };
}

test("a coordinator waits for a bus that starts after it, and says so", async () => {
  const server = await startNatsServer();
  await server.kill();
  const told: MillraceError[] = [];
  const { url, user, password } = server;
  const connecting = firstConnection({
    ...{ servers: [url], user, password, name: "test", clock: systemClock },
    onError: (error) => told.push(error),
  });
  await vi.waitFor(() => expect(told.length).toBeGreaterThan(0));
  expect(told[0]?.message).toContain(`trying again: connecting to NATS at ${url}`);
  await server.restart();
  const bus = await connecting;
  onTestFinished(() => bus.close());
  await bus.subscribe("there", () => {});
});

test("a bus that goes away again while the coordinator starts is waited for, too", async () => {
  const server = await startNatsServer();
  const { url, user, password } = server;
  const told: MillraceError[] = [];
  const bus = await firstConnection({
    ...{ servers: [url], user, password, name: "test", clock: systemClock },
    onError: (error) => told.push(error),
  });
  onTestFinished(() => bus.close());
  await server.kill();
  const subscribing = bus.subscribe("there", ({ data, reply }) => reply(data));
  await vi.waitFor(() => expect(told.length).toBeGreaterThan(0));
  expect(told[0]?.message).toContain("trying again: subscribing to there");
  await server.restart();
  await subscribing;
  const data = new TextEncoder().encode("heard");
  expect(await bus.request("there", data, { timeoutMs: 5_000 })).toEqual(data);
});

test("it gives up in the end, and at once when its password is wrong", async () => {
  const server = await startNatsServer();
  const { url, user } = server;
  const told: MillraceError[] = [];
  const { clock, beLate } = lateClock();
  const options = { servers: [url], user, name: "test", clock, onError: (error: MillraceError) => told.push(error) };
  await failure("unauthenticated", () => firstConnection({ ...options, password: "wrong" }));
  expect(told).toEqual([]);
  await server.kill();
  const connecting = failure("unavailable", () => firstConnection({ ...options, password: server.password }));
  await vi.waitFor(() => expect(told.length).toBeGreaterThan(0));
  beLate(limits.busFirstMs);
  expect((await connecting).message).toContain(url);
});
