import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished, vi } from "vitest";
import { exitOf } from "./exit-of.ts";
import { freePort } from "./free-port.ts";
import { tempDir } from "./temp-dir.ts";

/** A real sshd on loopback, with keys of the test's own. */
export interface SshServer {
  /** `user@address`; who may log in is the user of the test. */
  readonly login: string;
  readonly port: number;
  /** Opens it. */
  readonly privateKey: string;
  /** Its key, as a line of known_hosts. */
  readonly knownHosts: string;
  /** Resolves when a command was asked for that is held. */
  asked(): Promise<void>;
  release(): Promise<void>;
  /** Replaces the key of the host by another one. */
  renewHostKey(): Promise<void>;
}

const sshd = "/usr/sbin/sshd";

/** Whether there is what is needed (Debian: openssh-server). */
export const hasSshd = existsSync(sshd);

export interface SshServerOptions {
  /** Where it listens; default 127.0.0.1, and a port that is free. */
  readonly address?: string;
  readonly port?: number;
  /** It lets everybody in, and runs no command before `release`. */
  readonly held?: boolean;
}

/** Starts it; it ends with the test. */
export async function startSshServer(options: SshServerOptions = {}): Promise<SshServer> {
  const { address = "127.0.0.1", port = await freePort(), held = false } = options;
  const folder = tempDir();
  const file = (name: string) => join(folder, name);
  const makeKey = (name: string) =>
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file(name)]);
  makeKey("client");
  // Whoever has the lock holds up as many as there are.
  const command = `touch ${file("asked")}; flock -s ${file("lock")} true; eval \\"$SSH_ORIGINAL_COMMAND\\"`;
  const forced = held ? `command="${command}" ` : "";
  const holder = held ? await lock(file("lock")) : undefined;
  writeFileSync(file("authorized_keys"), `${forced}${readFileSync(file("client.pub"), "utf8")}`);
  let process: ChildProcess | undefined;
  let hostKeys = 0;

  async function renewHostKey(): Promise<void> {
    await stop();
    hostKeys += 1;
    makeKey(`host${hostKeys}`);
    writeFileSync(file("sshd_config"), configuration({ file, address, port, hostKey: file(`host${hostKeys}`) }));
    // Root's sshd locks itself into this folder, which a machine without the service lacks.
    if (userInfo().uid === 0) mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
    const child = spawn(sshd, ["-D", "-e", "-f", file("sshd_config")], { stdio: ["ignore", "ignore", "pipe"] });
    process = child;
    const said: string[] = [];
    for await (const line of createInterface({ input: child.stderr })) {
      said.push(line);
      if (line.startsWith("Server listening on")) break;
    }
    if (!said.at(-1)?.startsWith("Server listening on")) throw new Error(`sshd ended: ${said.join("; ")}`);
    child.stderr.resume();
  }

  async function stop(): Promise<void> {
    if (process === undefined || process.exitCode !== null || process.signalCode !== null) return;
    process.kill("SIGTERM");
    await exitOf(process);
  }

  onTestFinished(stop);
  await renewHostKey();
  const publicKey = readFileSync(file("host1.pub"), "utf8").trim();
  return {
    ...{ login: `${userInfo().username}@${address}`, port, renewHostKey },
    asked: () => vi.waitFor(() => expect(existsSync(file("asked"))).toBe(true), { timeout: 20_000 }),
    async release() {
      holder?.stdin.end();
      if (holder !== undefined) await exitOf(holder);
    },
    privateKey: readFileSync(file("client"), "utf8"),
    knownHosts: `${port === 22 ? address : `[${address}]:${port}`} ${publicKey}\n`,
  };
}

interface Configured {
  readonly file: (name: string) => string;
  readonly address: string;
  readonly port: number;
  readonly hostKey: string;
}

function configuration({ file, address, port, hostKey }: Configured): string {
  return [
    `Port ${port}`,
    `ListenAddress ${address}`,
    `HostKey ${hostKey}`,
    `AuthorizedKeysFile ${file("authorized_keys")}`,
    `PidFile ${file("pid")}`,
    "StrictModes no", // the folder of a test may be anybody's
    "UsePAM no",
    "PasswordAuthentication no",
    "KbdInteractiveAuthentication no",
    "PermitRootLogin prohibit-password",
    "",
  ].join("\n");
}

/** Takes a lock until its input ends. */
async function lock(path: string) {
  const holder = spawn("flock", ["-x", path, "sh", "-c", "echo locked; cat"], { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => void holder.stdin.end());
  await once(holder.stdout, "data");
  return holder;
}
