import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A way to a server on which, once a client has said something, nothing arrives any more. */
export interface LossyWay {
  /** `host:port` */
  readonly address: string;
  /** How many connections have met it. */
  lost(): number;
  /** For connections from now on. */
  mend(): void;
}

/**
 * To be used by one test, with a server that it kills: the losses end with the connection.
 * @param loses what is lost: `requests` from that word on, it included, or `answers` to it and to all else
 */
export async function lossyWay(target: string, said: string, loses: "requests" | "answers"): Promise<LossyWay> {
  const [host = "", port = ""] = target.split(":");
  const sockets = new Set<Socket>();
  let lost = 0;
  let isLossy = true;
  const server = createServer((near) => {
    const far = connect({ host, port: Number(port) });
    const losing = isLossy;
    let met = false;
    near.on("data", (data) => {
      if (losing && !met && data.includes(said)) {
        met = true;
        lost += 1;
      }
      if (!met || loses === "answers") far.write(data);
    });
    far.on("data", (data) => {
      if (!met || loses === "requests") near.write(data);
    });
    for (const [socket, other] of [[near, far] as const, [far, near] as const]) {
      sockets.add(socket);
      socket
        .on("error", () => {})
        .on("close", () => {
          sockets.delete(socket);
          other.destroy();
        });
    }
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    lost: () => lost,
    mend() {
      isLossy = false;
    },
  };
}
