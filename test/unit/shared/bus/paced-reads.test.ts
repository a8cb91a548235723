import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { paceReads } from "../../../../shared/bus/paced-reads.ts";
import { limits } from "../../../../shared/limits.ts";
import { fakeClock } from "../../../support/fake-clock.ts";

/** A connection that is paced, and one to the same server that is not: what has come over that one could have over both. */
async function pacedSocket() {
  const clock = fakeClock();
  const server = createServer({ noDelay: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const join = async (): Promise<[Socket, Socket]> => {
    const accepted = once(server, "connection");
    const socket = createConnection(port, "127.0.0.1");
    const [peer] = (await accepted) as [Socket];
    for (const end of [socket, peer]) onTestFinished(() => void end.destroy());
    return [socket, peer];
  };
  const [[socket, peer], [other, otherPeer]] = [await join(), await join()];
  onTestFinished(() => void server.close());
  const shares: string[] = [];
  socket.on("data", (bytes) => shares.push(bytes.toString()));
  paceReads(socket, clock);
  return {
    clock,
    shares,
    socket,
    async comes(text: string): Promise<void> {
      peer.write(text);
      const heard = once(other, "data");
      otherPeer.write(text);
      await heard;
      await new Promise(setImmediate);
    },
  };
}

test("after a quiet time all is handed over at once, up to the bound; what comes then waits and is one share", async () => {
  const { clock, shares, socket, comes } = await pacedSocket();
  const first = Array.from({ length: limits.busSharesAtOnce + 1 }, (_, index) => `${index} `);
  for (const text of first) await comes(text);
  expect(shares).toEqual(first);
  await comes("a");
  await comes("b");
  expect(shares).toEqual(first);
  const heard = once(socket, "data");
  clock.advance(limits.busShareMs);
  await heard;
  expect(shares).toEqual([...first, "ab"]);
});

test("what comes no more often than shares may follow one another never waits", async () => {
  const { clock, shares, comes } = await pacedSocket();
  for (let index = 1; index <= 3 * limits.busSharesAtOnce; index += 1) {
    await comes("x");
    expect(shares).toHaveLength(index);
    clock.advance(limits.busShareMs);
  }
});

test("a socket that was closed meanwhile is left alone", async () => {
  const { clock, shares, socket, comes } = await pacedSocket();
  for (let index = 0; index <= limits.busSharesAtOnce; index += 1) await comes("x");
  expect(shares).toHaveLength(limits.busSharesAtOnce + 1);
  socket.destroy();
  await once(socket, "close");
  clock.advance(limits.busShareMs);
});
