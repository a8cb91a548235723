import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "../test/support/free-port.ts";

/** A real nats-server for one bench. */
export interface BenchNats {
  readonly url: string;
  readonly user: string;
  readonly password: string;
  stop(): Promise<void>;
}

/** @param folder for its configuration; whoever made it removes it */
export async function startNats(folder: string): Promise<BenchNats> {
  const port = await freePort();
  const [user, password] = ["bench", "bench"];
  const config = join(folder, "nats.conf");
  writeFileSync(config, `listen: "127.0.0.1:${port}"\nauthorization { user: ${user}, password: "${password}" }\n`);
  const child = spawn("nats-server", ["-c", config], { stdio: ["ignore", "ignore", "pipe"] });
  for await (const line of createInterface({ input: child.stderr })) if (line.includes("Server is ready")) break;
  child.stderr.resume();
  return { url: `nats://127.0.0.1:${port}`, user, password, stop: () => killed(child) };
}

/** kill -9, resolved when it is gone. */
export async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}
