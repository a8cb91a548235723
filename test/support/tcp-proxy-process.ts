import { connect, createServer, type NetConnectOpts, type Socket } from "node:net";
import type { ProxyMode } from "./tcp-proxy.ts";

/*
 * The program behind tcp-proxy.ts. Arguments: where to listen and where to connect, each `host:port` or a path. Each message
 * of its parent is answered when it is in force.
 */
const [listenAt = "", connectTo = ""] = process.argv.slice(2);
const sockets = new Set<Socket>();
let mode: ProxyMode = {};

function optionsOf(endpoint: string): NetConnectOpts {
  if (endpoint.startsWith("/")) return { path: endpoint };
  const colon = endpoint.lastIndexOf(":");
  return { host: endpoint.slice(0, colon), port: Number(endpoint.slice(colon + 1)) };
}

const server = createServer({ allowHalfOpen: true }, (near) => {
  keep(near);
  if (mode.isRefusing === true) near.resetAndDestroy();
  else if (mode.isSwallowing === true) near.resume();
  else {
    const far = keep(connect({ ...optionsOf(connectTo), allowHalfOpen: true }));
    pass(near, far);
    pass(far, near);
  }
});

function keep(socket: Socket): Socket {
  sockets.add(socket);
  socket.on("error", () => socket.destroy()).on("close", () => sockets.delete(socket));
  return socket;
}

/** In order, and at the pace of the receiver as long as nothing is delayed. */
function pass(from: Socket, to: Socket): void {
  let isLost = false;
  let lastMs = 0;
  const later = (call: () => void): void => {
    const dueMs = Math.max(lastMs, performance.now() + (mode.delayMs ?? 0));
    const isNow = dueMs <= performance.now();
    lastMs = isNow ? 0 : dueMs;
    if (isNow) call();
    else setTimeout(call, dueMs - performance.now());
  };
  from.on("data", (data) => {
    isLost ||= mode.isSwallowing === true;
    if (isLost) return;
    later(() => {
      if (to.write(data)) return;
      from.pause();
      to.once("drain", () => from.resume());
    });
  });
  from.on("end", () => {
    if (!isLost && mode.isSwallowing !== true) later(() => to.end());
  });
  from.on("close", () => {
    if (from.errored !== null) to.resetAndDestroy();
  });
}

process.on("message", (message: ProxyMode & { reset?: boolean }) => {
  if (message.reset === true) for (const socket of sockets) socket.resetAndDestroy();
  else mode = message;
  process.send?.("done");
});
process.on("disconnect", () => process.exit());
server.listen(optionsOf(listenAt), () => process.send?.("listening"));
