import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { onTestFinished } from "vitest";
import type { ServerTls } from "../../shared/tls/server-tls.ts";
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
  const port = await freePort();
  const password = "test-password";
  const config = join(tempDir(), "nats.conf");
  const keys = tls === undefined ? "" : `tls { cert_file: "${tls.certFile}", key_file: "${tls.keyFile}" }\n`;
  writeFileSync(config, `listen: "127.0.0.1:${port}"\nauthorization { user: test, password: "${password}" }\n${keys}`);

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
    await once(child, "exit");
  };
  onTestFinished(kill);
  return {
    url: `${tls === undefined ? "nats" : "tls"}://127.0.0.1:${port}`,
    user: "test",
    password,
    kill,
    freeze: () => void child.kill("SIGSTOP"),
    thaw: () => void child.kill("SIGCONT"),
    async restart() {
      child = await launch();
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
