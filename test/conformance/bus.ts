import { describe, expect, test, vi } from "vitest";
import type { Bus } from "../../shared/bus/bus.ts";
import type { MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";

/** One bus world of a test: parties that hear each other. */
export interface BusWorld {
  /** A bus for one more party, closed after the test. */
  connect(onError?: (error: MillraceError) => void): Promise<Bus>;
}

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array) => new TextDecoder().decode(data);
const soon = { timeoutMs: 10_000 };

/** Collects what a subscription hears and waits for it. */
async function listen(bus: Bus, pattern: string) {
  const heard: string[] = [];
  const end = await bus.subscribe(pattern, ({ subject, data }) => heard.push(`${subject}=${text(data)}`));
  return { heard, end, until: (count: number) => vi.waitUntil(() => heard.length >= count, soon.timeoutMs) };
}

/** What every adapter of Bus promises. `world` is called once a test. */
export function busConformance(name: string, world: () => Promise<BusWorld>): void {
  describe(`${name} as a bus`, () => {
    test("carries a message to every subscription that matches, and to no other", async () => {
      const { connect } = await world();
      const [sender, receiver] = [await connect(), await connect()];
      const exact = await listen(receiver, "a.b.c");
      const star = await listen(receiver, "a.*.c");
      const tail = await listen(receiver, "a.>");
      const other = await listen(receiver, "a.b");
      const self = await listen(sender, "a.b.c");
      sender.publish("a.b.c", bytes("1"));
      sender.publish("a.x.c", bytes("2"));
      sender.publish("a.b", bytes("3"));
      await Promise.all([exact.until(1), star.until(2), tail.until(3), other.until(1), self.until(1)]);
      expect(exact.heard).toEqual(["a.b.c=1"]);
      expect(star.heard).toEqual(["a.b.c=1", "a.x.c=2"]);
      expect(tail.heard).toEqual(["a.b.c=1", "a.x.c=2", "a.b=3"]);
      expect(other.heard).toEqual(["a.b=3"]);
      expect(self.heard).toEqual(["a.b.c=1"]);
    });

    test("keeps the order of one sender on one subject", async () => {
      const { connect } = await world();
      const [sender, receiver] = [await connect(), await connect()];
      const { heard, until } = await listen(receiver, "count");
      for (let n = 0; n < 2_000; n += 1) sender.publish("count", bytes(String(n)));
      await until(2_000);
      expect(heard).toEqual(Array.from({ length: 2_000 }, (_, n) => `count=${n}`));
    });

    test("never calls a handler before publish has returned", async () => {
      const { connect } = await world();
      const bus = await connect();
      const { heard, until } = await listen(bus, "x");
      bus.publish("x", bytes("1"));
      expect(heard).toEqual([]);
      await until(1);
    });

    test("brings the answer of a request back to the one who asked", async () => {
      const { connect } = await world();
      const [asker, answerer] = [await connect(), await connect()];
      await answerer.subscribe("double", (message) => message.reply(bytes(text(message.data).repeat(2))));
      const answers = await Promise.all(["a", "b", "c"].map((word) => asker.request("double", bytes(word), soon)));
      expect(answers.map(text)).toEqual(["aa", "bb", "cc"]);
    });

    test("answers a request with empty data as it came", async () => {
      const { connect } = await world();
      const bus = await connect();
      await bus.subscribe("quiet", (message) => message.reply(new Uint8Array(0)));
      expect(await bus.request("quiet", new Uint8Array(0), soon)).toHaveLength(0);
    });

    test("a request that nobody listens to fails with unavailable, without waiting for the time-out", async () => {
      const { connect } = await world();
      const bus = await connect();
      await expect(bus.request("nobody", bytes("?"), { timeoutMs: 600_000 })).rejects.toMatchObject({
        code: "unavailable",
        message: expect.stringContaining("nobody"),
      });
    });

    test("a request without an answer fails with deadline_exceeded", async () => {
      const { connect } = await world();
      const bus = await connect();
      await bus.subscribe("silent", () => undefined);
      await expect(bus.request("silent", bytes("?"), { timeoutMs: 20 })).rejects.toMatchObject({
        code: "deadline_exceeded",
      });
    });

    test("a request ends with canceled when its signal aborts, before or while it waits", async () => {
      const { connect } = await world();
      const bus = await connect();
      const stop = new AbortController();
      await bus.subscribe("silent", () => stop.abort());
      const options = { timeoutMs: 1_000, signal: stop.signal };
      await expect(bus.request("silent", bytes("?"), options)).rejects.toMatchObject({ code: "canceled" });
      await expect(bus.request("silent", bytes("?"), options)).rejects.toMatchObject({ code: "canceled" });
    });

    test("a reply to a message that asked for none is nothing", async () => {
      const { connect } = await world();
      const bus = await connect();
      const errors: MillraceError[] = [];
      const other = await connect((error) => errors.push(error));
      await other.subscribe("x", (message) => message.reply(bytes("unasked")));
      const { until } = await listen(other, "x");
      bus.publish("x", bytes("1"));
      await until(1);
      expect(errors).toEqual([]);
    });

    test("an ended subscription hears nothing more", async () => {
      const { connect } = await world();
      const bus = await connect();
      const ended = await listen(bus, "x");
      const stays = await listen(bus, "x");
      ended.end();
      bus.publish("x", bytes("1"));
      await stays.until(1);
      expect(ended.heard).toEqual([]);
    });

    test("a handler that throws is reported and hears the next message all the same", async () => {
      const { connect } = await world();
      const errors: MillraceError[] = [];
      const bus = await connect((error) => errors.push(error));
      await bus.subscribe("x", (message) => {
        throw new Error(`cannot handle ${text(message.data)}`);
      });
      bus.publish("x", bytes("1"));
      bus.publish("x", bytes("2"));
      await vi.waitUntil(() => errors.length === 2, soon.timeoutMs);
      expect(errors.map(({ message }) => message)).toEqual([
        "handling a message to x: cannot handle 1",
        "handling a message to x: cannot handle 2",
      ]);
    });

    test("carries what the limit allows and refuses one byte more", async () => {
      const { connect } = await world();
      const bus = await connect();
      const sizes: number[] = [];
      await bus.subscribe("big", (message) => {
        sizes.push(message.data.byteLength);
        message.reply(message.data);
      });
      const most = new Uint8Array(limits.busMessageBytes).fill(7);
      expect(Buffer.compare(await bus.request("big", most, soon), most)).toBe(0);
      const more = new Uint8Array(limits.busMessageBytes + 1);
      expect(() => bus.publish("big", more)).toThrow(expect.objectContaining({ code: "invalid_argument" }));
      await expect(bus.request("big", more, soon)).rejects.toMatchObject({ code: "invalid_argument" });
      expect(sizes).toEqual([limits.busMessageBytes]);
    });

    test.each(["", "a b", "a..b", ".a", "a.", "a.*", "a.>", "a\r\nPUB x 0"])(
      "refuses to send to %j",
      async (subject) => {
        const { connect } = await world();
        const bus = await connect();
        const refusal = expect.objectContaining({ code: "invalid_argument" });
        expect(() => bus.publish(subject, bytes("1"))).toThrow(refusal);
        await expect(bus.request(subject, bytes("1"), soon)).rejects.toEqual(refusal);
      },
    );

    test.each(["", "a b", "a..b", "a.>.b", "a*", "a.b>"])("refuses to subscribe to %j", async (pattern) => {
      const { connect } = await world();
      const bus = await connect();
      await expect(bus.subscribe(pattern, () => undefined)).rejects.toMatchObject({ code: "invalid_argument" });
    });

    test("tells a watcher of the connection at once, and nothing after it left", async () => {
      const { connect } = await world();
      const bus = await connect();
      const states: boolean[] = [];
      const leave = bus.watchConnection((up) => states.push(up));
      expect(states).toEqual([true]);
      leave();
      await bus.close();
      expect(states).toEqual([true]);
    });

    test("close delivers what was published, ends waiting requests with unavailable, and may be repeated", async () => {
      const { connect } = await world();
      const [leaver, stayer] = [await connect(), await connect()];
      const { heard, until } = await listen(stayer, "goodbye");
      await stayer.subscribe("silent", () => undefined);
      const states: boolean[] = [];
      leaver.watchConnection((up) => states.push(up));
      const waiting = leaver.request("silent", bytes("?"), { timeoutMs: 600_000 });
      const failed = expect(waiting).rejects.toMatchObject({ code: "unavailable" });
      const large = await listen(stayer, "large");
      for (let n = 0; n < 50; n += 1) leaver.publish("large", new Uint8Array(limits.busMessageBytes));
      leaver.publish("goodbye", bytes("1"));
      await Promise.all([leaver.close(), leaver.close(), failed]);
      await Promise.all([until(1), large.until(50)]);
      leaver.publish("goodbye", bytes("2"));
      await expect(leaver.request("silent", bytes("?"), soon)).rejects.toMatchObject({ code: "unavailable" });
      await expect(leaver.subscribe("x", () => undefined)).rejects.toMatchObject({ code: "unavailable" });
      expect(states).toEqual([true, false]);
      stayer.publish("goodbye", bytes("3"));
      await until(2);
      expect(heard).toEqual(["goodbye=1", "goodbye=3"]);
    });
  });
}
