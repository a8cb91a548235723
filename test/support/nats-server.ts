import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { onTestFinished } from "vitest";
import { natsConfig } from "../../cli/up/nats.ts";
import type { ManagedNatsConfig } from "../../coordinator/config.ts";
import { natsUsersText } from "../../shared/bus/nats-users.ts";
import type { ServerTls } from "../../shared/tls/server-tls.ts";
import { exitOf } from "./exit-of.ts";
import { freePort } from "./free-port.ts";
import { tempDir } from "./temp-dir.ts";

export interface TestNatsServer {
  readonly url: string;
  readonly user: string;
  readonly password: string;
  /** kill -9, resolved when it is gone. */
  kill(): Promise<void>;
  /** SIGSTOP: connections stay open and nothing comes through. */
  freeze(): void;
  thaw(): void;
  /** Starts it again on the same port. */
  restart(): Promise<void>;
}

/** A real nats-server of this test's own, gone after the test. */
export async function startNatsServer(tls?: Pick<ServerTls, "certFile" | "keyFile">): Promise<TestNatsServer> {
  const password = "test-password";
  const keys = tls === undefined ? "" : `tls { cert_file: "${tls.certFile}", key_file: "${tls.keyFile}" }\n`;
  const config = (port: number) =>
    `listen: "127.0.0.1:${port}"\nauthorization { user: test, password: "${password}" }\n${keys}`;
  const server = await startWith(config, tempDir());
  return { ...server, url: `${tls === undefined ? "nats" : "tls"}://${server.address}`, user: "test", password };
}

/** One whose agents are told to it by the coordinator, as `millrace up` starts it. */
export async function startManagedNats(): Promise<TestNatsServer & { readonly managed: ManagedNatsConfig }> {
  const dir = tempDir();
  const coordinator = { user: "coordinator", password: "coordinators-own" };
  const files = { usersFile: join(dir, "users.conf"), pidFile: join(dir, "nats.pid") };
  const managed = { ...files, monitor: { user: "monitor", password: "monitors-own" } };
  writeFileSync(files.usersFile, natsUsersText({ coordinator, agents: [] }));
  const config = (port: number) => natsConfig({ host: "127.0.0.1", port, tls: undefined }, { coordinator, managed });
  const server = await startWith(config, dir);
  return { ...server, url: `nats://${server.address}`, ...coordinator, managed: { coordinator, ...managed } };
}

/** One that an operator has set up: with everything but the address as the text says it. */
export async function startNatsOf(config: string) {
  const server = await startWith((port) => `listen: "127.0.0.1:${port}"\n${config}`, tempDir());
  return { ...server, url: `nats://${server.address}` };
}

async function startWith(configOf: (port: number) => string, dir: string) {
  const port = await freePort();
  const config = join(dir, "nats.conf");
  writeFileSync(config, configOf(port));

  async function launch() {
    const child = spawn("nats-server", ["-c", config], { stdio: ["ignore", "ignore", "pipe"] });
    for await (const line of createInterface({ input: child.stderr })) if (line.includes("Server is ready")) break;
    child.stderr.resume();
    return child;
  }

  let child = await launch();
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await exitOf(child);
  };
  onTestFinished(kill);
  return {
    address: `127.0.0.1:${port}`,
    kill,
    freeze: () => void child.kill("SIGSTOP"),
    thaw: () => void child.kill("SIGCONT"),
    async restart() {
      child = await launch();
    },
  };
}
