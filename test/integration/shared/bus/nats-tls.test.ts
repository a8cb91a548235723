import { createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { connectNatsBus } from "../../../../shared/bus/nats-bus.ts";
import { authorityTrust, type Trust } from "../../../../shared/tls/trust.ts";
import { expectShares } from "../../../support/bus-shares.ts";
import { startNatsServer, type TestNatsServer } from "../../../support/nats-server.ts";
import { listening, testAuthority } from "../../../support/tls-farm.ts";

async function dial({ url, user, password }: Pick<TestNatsServer, "url" | "user" | "password">, trust?: Trust) {
  const bus = await connectNatsBus({ servers: [url], user, password, trust, name: "test", onError: () => undefined });
  onTestFinished(() => bus.close());
  return bus;
}

test("with the farm's own CA messages go through, though the certificate has another name", async () => {
  const farm = await testAuthority();
  const bus = await dial(await startNatsServer(farm), authorityTrust(farm.authority.caPem));
  await bus.subscribe("echo", (message) => message.reply(message.data));
  expect(await bus.request("echo", new Uint8Array([7]), { timeoutMs: 5_000 })).toEqual(new Uint8Array([7]));
  await expectShares(bus, bus);
});

test("the connection comes back by the same trust after the server was away", async () => {
  const farm = await testAuthority();
  const server = await startNatsServer(farm);
  const bus = await dial(server, authorityTrust(farm.authority.caPem));
  const states: boolean[] = [];
  const { promise: back, resolve } = Promise.withResolvers<void>();
  bus.watchConnection((up) => {
    states.push(up);
    if (up && states.includes(false)) resolve();
  });
  await server.kill();
  await server.restart();
  await back;
});

test("a server with another CA is refused, and one without the name that was dialled where names count", async () => {
  const [farm, other] = [await testAuthority(), await testAuthority()];
  const server = await startNatsServer(farm);
  await expect(dial(server, authorityTrust(other.authority.caPem))).rejects.toThrow(/certificate/);
  await expect(dial(server, { caPem: farm.authority.caPem, checksName: true })).rejects.toThrow(/127\.0\.0\.1/);
  await expect(dial(server, { caPem: undefined, checksName: true })).rejects.toThrow(/self-signed/);
});

test("a server that offers no TLS gets no password", async () => {
  const { caPem } = (await testAuthority()).authority;
  let heard = "";
  const info = JSON.stringify({ server_id: "x", version: "2.9.10", proto: 1, max_payload: 1_000_000 });
  const port = await listening(
    createServer((socket) => {
      socket.on("error", () => undefined).on("data", (data) => void (heard += data.toString()));
      socket.write(`INFO ${info}\r\n`);
    }),
  );
  const server = { url: `tls://127.0.0.1:${port}`, user: "test", password: "s3cret" };
  await expect(dial(server, authorityTrust(caPem))).rejects.toThrow(/does not support 'tls'/);
  expect(heard).toBe("");
});
