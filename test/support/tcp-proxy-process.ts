import { connect, createServer, type NetConnectOpts, type Socket } from "node:net";
import { systemClock } from "../../shared/clock.ts";
import type { ProxyMode } from "./tcp-proxy.ts";

/*
 * The program behind tcp-proxy.ts. Arguments: where to listen and where to connect, each `host:port` or a path. Each message
 * of its parent is answered when it is in force.
 */
const [listenAt = "", connectTo = ""] = process.argv.slice(2);
run(optionsOf(listenAt), optionsOf(connectTo));

function optionsOf(endpoint: string): NetConnectOpts {
  if (endpoint.startsWith("/")) return { path: endpoint };
  const colon = endpoint.lastIndexOf(":");
  return { host: endpoint.slice(0, colon), port: Number(endpoint.slice(colon + 1)) };
}

function run(listen: NetConnectOpts, target: NetConnectOpts): void {
  const sockets = new Set<Socket>();
  let mode: ProxyMode = {};
  /** Grows with each swallowing: connections from before are dead from then on. */
  let generation = 0;

  function keep(socket: Socket): Socket {
    sockets.add(socket);
    return socket.on("error", () => socket.destroy()).on("close", () => sockets.delete(socket));
  }

  /** In order, and at the pace of the receiver as long as nothing is delayed. */
  function pass(from: Socket, to: Socket): void {
    const born = generation;
    const isLost = () => born !== generation;
    /** One timer at a time: two might fire in another order than that of their pieces. */
    const queue: { readonly dueMs: number; readonly call: () => void }[] = [];
    const drain = (): void => {
      for (let [head] = queue; head !== undefined; [head] = queue) {
        const leftMs = head.dueMs - systemClock.monotonicMs();
        if (leftMs > 0) return void systemClock.after(leftMs, drain);
        queue.shift();
        head.call();
      }
    };
    const later = (call: () => void): void => {
      queue.push({ dueMs: systemClock.monotonicMs() + (mode.delayMs ?? 0), call });
      if (queue.length === 1) drain();
    };
    from.on("data", (data) => {
      if (isLost()) return;
      later(() => {
        if (to.write(data)) return;
        from.pause();
        to.once("drain", () => from.resume());
      });
    });
    from.on("end", () => {
      if (!isLost()) later(() => to.end());
    });
    from.on("close", () => {
      if (from.errored !== null) reset(to);
    });
  }

  const server = createServer({ allowHalfOpen: true }, (near) => {
    keep(near);
    if (mode.isRefusing === true) reset(near);
    else if (mode.isSwallowing === true) near.resume();
    else {
      const far = keep(connect({ ...target, allowHalfOpen: true }));
      pass(near, far);
      pass(far, near);
    }
  });
  process.on("message", (message: ProxyMode & { reset?: boolean }) => {
    if (message.reset === true) for (const socket of sockets) reset(socket);
    else mode = message;
    if (mode.isSwallowing === true) generation += 1;
    process.send?.("done");
  });
  process.on("disconnect", () => process.exit());
  server.listen(listen, () => process.send?.("listening"));
}

/** Unix sockets know no RST. */
function reset(socket: Socket): void {
  if (socket.remoteAddress === undefined) socket.destroy();
  else socket.resetAndDestroy();
}
