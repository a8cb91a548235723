import { expect, onTestFinished, test } from "vitest";
import { inProcessBus } from "../../../../shared/bus/in-process-bus.ts";
import { busConformance } from "../../../conformance/bus.ts";
import { fakeClock } from "../../../support/fake-clock.ts";

busConformance("the in-process broker", async () => {
  const broker = inProcessBus();
  return {
    async connect(onError) {
      const bus = broker.connect(onError);
      onTestFinished(() => bus.close());
      return bus;
    },
  };
});

const data = new TextEncoder().encode("data");

test("a broker that goes down and comes back does what a killed server does", async () => {
  const broker = inProcessBus();
  const bus = broker.connect();
  const heard: string[] = [];
  await bus.subscribe("echo", (message) => {
    heard.push(new TextDecoder().decode(message.data));
    message.reply(message.data);
  });
  await bus.subscribe("silent", () => undefined);
  const states: boolean[] = [];
  bus.watchConnection((up) => states.push(up));

  const waiting = bus.request("silent", data, { timeoutMs: 600_000 });
  const failed = expect(waiting).rejects.toMatchObject({ code: "unavailable" });
  bus.publish("echo", new TextEncoder().encode("on its way"));
  broker.setUp(false);
  await failed;
  bus.publish("echo", new TextEncoder().encode("while down"));
  await expect(bus.request("echo", data, { timeoutMs: 600_000 })).rejects.toMatchObject({ code: "unavailable" });
  await expect(bus.subscribe("more", () => undefined)).rejects.toMatchObject({ code: "unavailable" });

  broker.setUp(true);
  expect(await bus.request("echo", data, { timeoutMs: 600_000 })).toEqual(data);
  expect(heard).toEqual(["data"]);
  expect(states).toEqual([true, false, true]);
  await bus.close();
});

test("a request times out on the clock that it was given", async () => {
  const clock = fakeClock();
  const bus = inProcessBus(clock).connect();
  await bus.subscribe("silent", () => clock.advance(30_000));
  await expect(bus.request("silent", data, { timeoutMs: 30_000 })).rejects.toMatchObject({
    code: "deadline_exceeded",
  });
  await bus.close();
});
