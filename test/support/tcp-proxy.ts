import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { exitOf } from "./exit-of.ts";
import type { Host } from "./network.ts";

/** What a proxy does to the connections that go through it, present and future ones. */
export interface ProxyMode {
  /** Each piece arrives this much later, in order; default 0. */
  readonly delayMs?: number;
  /** Connections are accepted and held, and what is sent is taken and never arrives: the other side is half open. */
  readonly isSwallowing?: boolean;
  /** New connections are refused as if nobody listened. */
  readonly isRefusing?: boolean;
}

/** `host:port`, or the path of a Unix socket. */
export type Endpoint = string;

/** A program that stands between two sides of TCP connections and disturbs them on command. */
export interface TcpProxy {
  /** Resolves when it is so. What was swallowed stays lost: those connections are as good as cut. */
  set(mode: ProxyMode): Promise<void>;
  /** Ends all connections with RST. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

/** Starts one on a machine. Unix sockets reach over the borders of network namespaces. */
export async function startProxy(host: Host, listen: Endpoint, target: Endpoint): Promise<TcpProxy> {
  const program = join(import.meta.dirname, "tcp-proxy-process.ts");
  const child: ChildProcess = host.spawn(process.execPath, [program, listen, target], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const ended = exitOf(child);
  await Promise.race([once(child, "message"), ended.then(() => Promise.reject(new Error(`no proxy at ${listen}`)))]);
  const tell = async (message: ProxyMode & { reset?: boolean }): Promise<void> => {
    const done = once(child, "message");
    child.send(message);
    await done;
  };
  return {
    set: (mode) => tell(mode),
    reset: () => tell({ reset: true }),
    async close() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
