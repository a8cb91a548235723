import { type AddressInfo, createServer, type Socket } from "node:net";
import { expect, onTestFinished, test, vi } from "vitest";
import type { Bus } from "../../../../shared/bus/bus.ts";
import { connectNatsBus } from "../../../../shared/bus/nats-bus.ts";
import type { MillraceError } from "../../../../shared/errors.ts";
import { busConformance } from "../../../conformance/bus.ts";
import { expectShares } from "../../../support/bus-shares.ts";
import { startNatsServer, type TestNatsServer } from "../../../support/nats-server.ts";

async function connectTo(
  server: TestNatsServer,
  onError: (error: MillraceError) => void = (error) => expect.unreachable(error.message),
): Promise<Bus> {
  const { url, user, password } = server;
  const bus = await connectNatsBus({ servers: [url], user, password, name: "test", onError });
  onTestFinished(() => bus.close());
  return bus;
}

busConformance("NATS", async () => {
  const server = await startNatsServer();
  return { connect: (onError) => connectTo(server, onError) };
});

const data = new TextEncoder().encode("data");

test("a server that is killed and restarted: the parties are told and their subscriptions work again", async () => {
  const server = await startNatsServer();
  const [asker, answerer] = [await connectTo(server), await connectTo(server)];
  await answerer.subscribe("echo", (message) => message.reply(message.data));
  await answerer.subscribe("silent", () => undefined);
  const heard: string[] = [];
  await answerer.subscribe("news", (message) => heard.push(new TextDecoder().decode(message.data)));
  const states: Record<string, boolean[]> = { asker: [], answerer: [] };
  asker.watchConnection((up) => states["asker"]?.push(up));
  answerer.watchConnection((up) => states["answerer"]?.push(up));
  const told = (count: number) =>
    vi.waitUntil(() => Object.values(states).every(({ length }) => length >= count), 20_000);

  const waiting = asker.request("silent", data, { timeoutMs: 600_000 });
  const failed = expect(waiting).rejects.toMatchObject({ code: "unavailable" });
  await server.kill();
  await told(2);
  await failed;
  await expect(asker.request("echo", data, { timeoutMs: 600_000 })).rejects.toMatchObject({ code: "unavailable" });
  await expect(asker.subscribe("more", () => undefined)).rejects.toMatchObject({ code: "unavailable" });
  asker.publish("news", new TextEncoder().encode("published while the server was away"));

  await server.restart();
  await told(3);
  expect(states).toEqual({ asker: [true, false, true], answerer: [true, false, true] });
  expect(await asker.request("echo", data, { timeoutMs: 5_000 })).toEqual(data);
  asker.publish("news", new TextEncoder().encode("fresh"));
  await vi.waitUntil(() => heard.length > 0, 5_000);
  expect(heard).toEqual(["fresh"]);
});

test("closing works while the server is away", async () => {
  const server = await startNatsServer();
  const bus = await connectTo(server);
  await server.kill();
  await bus.close();
});

test("closing works while a server that has just come back says nothing more", async () => {
  const asked = Promise.withResolvers<void>();
  const sockets: Socket[] = [];
  const silent = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined); // the client may be gone first
    socket.write(`INFO ${JSON.stringify({ version: "2.10.0", headers: true, max_payload: 1_048_576 })}\r\n`);
    let pings = 0;
    socket.on("data", (lines) => {
      pings += String(lines).split("PING").length - 1;
      if (pings === 1) socket.write("PONG\r\n"); // what ends the greeting
      if (pings === 2) asked.resolve(); // whether the subscriptions are in force again
    });
  });
  const port = await new Promise<number>((resolve) => {
    silent.listen(0, "127.0.0.1", () => resolve((silent.address() as AddressInfo).port));
  });
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  const bus = await connectNatsBus({
    ...{ servers: [`nats://127.0.0.1:${port}`], user: "u", password: "p", name: "test", onError: () => undefined },
  });
  sockets[0]?.destroy();
  await asked.promise;
  await bus.close();
});

test("a server that is not there, and one that refuses the password, are named", async () => {
  const server = await startNatsServer();
  const { url, user } = server;
  const options = { servers: [url], user, password: "wrong", name: "test", onError: () => undefined };
  await expect(connectNatsBus(options)).rejects.toMatchObject({
    code: "unauthenticated",
    message: expect.stringContaining(url),
  });
  await server.kill();
  await expect(connectNatsBus(options)).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining(url),
  });
});

test("what comes over a busy connection is heard in shares", async () => {
  const server = await startNatsServer();
  await expectShares(await connectTo(server), await connectTo(server));
});
