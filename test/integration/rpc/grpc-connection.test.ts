import { once } from "node:events";
import { connect as connectHttp2, constants, createServer as createHttp2Server } from "node:http2";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { createClient } from "@connectrpc/connect";
import { expect, onTestFinished, test, vi } from "vitest";
import { grpcServer, mounted } from "../../../coordinator/api/grpc/grpc-server.ts";
import { LogService } from "../../../proto/gen/millrace/v1/log_pb.ts";
import { limits } from "../../../shared/limits.ts";
import { grpcTransport } from "../../../shared/rpc/grpc-transport.ts";
import { freePort } from "../../support/free-port.ts";

async function serve(): Promise<number> {
  const server = grpcServer([
    mounted(LogService, {
      async *appendLog() {},
      async *readLog(_request, { signal }) {
        yield { data: new Uint8Array(1) };
        await once(signal, "abort");
      },
    }),
  ]);
  const port = await server.listen("127.0.0.1", 0);
  onTestFinished(() => server.close(0));
  return port;
}

test("a client may send a whole window to the server, on a stream and on its connection", async () => {
  const session = connectHttp2(`http://127.0.0.1:${await serve()}`);
  onTestFinished(() => session.destroy());
  await once(session, "remoteSettings");
  expect(session.remoteSettings.initialWindowSize).toBe(limits.grpcWindowBytes);
  await vi.waitFor(() => expect(session.state.remoteWindowSize).toBe(limits.grpcWindowBytes));
});

test("a connection that is refused says so, and nothing of what was not found out", async () => {
  const port = await freePort();
  const transport = grpcTransport({ address: `127.0.0.1:${port}` });
  onTestFinished(() => transport.close());
  const reading = createClient(LogService, transport).readLog({})[Symbol.asyncIterator]();
  const refused = `No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:${port}.`;
  await expect(reading.next()).rejects.toMatchObject({ rawMessage: refused });
});

test("a server that went away in the midst of an answer is unavailable, also where it closed the stream in good order", async () => {
  const server = createHttp2Server();
  server.on("stream", (stream) => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" });
    stream.close(constants.NGHTTP2_NO_ERROR);
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const transport = grpcTransport({ address: `127.0.0.1:${port}` });
  onTestFinished(() => transport.close());
  const reading = createClient(LogService, transport).readLog({})[Symbol.asyncIterator]();
  await expect(reading.next()).rejects.toThrow("[unavailable] Received RST_STREAM with code 0");
});

test("a connection that died without a word is found out by its pings", async () => {
  const port = await serve();
  /** Between the two: once it holds its breath, nothing comes through and nobody is told. */
  let isHolding = false;
  const sockets = new Set<Socket>();
  const between = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on("data", (data) => isHolding || to.write(data)).on("error", () => from.destroy());
    }
  }).listen(0, "127.0.0.1");
  await once(between, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    between.close();
  });
  const address = between.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const transport = grpcTransport({ address: `127.0.0.1:${address.port}`, ping: { everyMs: 200, timeoutMs: 300 } });
  onTestFinished(() => transport.close());
  const reading = createClient(LogService, transport).readLog({})[Symbol.asyncIterator]();
  expect((await reading.next()).done).toBe(false);
  isHolding = true;
  await expect(reading.next()).rejects.toThrow("[unavailable]");
});
