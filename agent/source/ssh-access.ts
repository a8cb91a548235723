import { randomUUID } from "node:crypto";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { limits } from "../../shared/limits.ts";
import { Refused } from "../executor/executor.ts";
import { findTool } from "../tools/probe-tool.ts";
import type { Access } from "./access.ts";

/** Whose key a server may show. */
interface HostKeys {
  /** Lines of a known_hosts file; one of them must name the server's key. Empty: what the machine itself knows counts. */
  readonly knownHosts: string;
  /** Where `knownHosts` is empty: the first key that a host shows is believed and remembered, and no other one after it. */
  readonly trustFirstHostKey: boolean;
}

export interface SshAccessOptions extends HostKeys {
  /** A private key; undefined: none is shown, and hardly any server lets us in. */
  readonly credentials: string | undefined;
  /** Where ssh and what starts it are looked for. */
  readonly path: string;
  /** Of the agent's own; remembers the keys of hosts that were believed. */
  readonly folder: string;
}

/** What the administrator of a machine says of hosts, for all of its users. */
const machineKnownHosts = "/etc/ssh/ssh_known_hosts";

/**
 * Prepares ssh for git: it asks nobody, reads no user's settings and offers this key alone. The key is in a file that has
 * no name any more when it is written, so nothing of it is left however the agent ends.
 * @throws Refused, without the credentials in its message, when they are no private key
 */
export function sshAccess({ credentials, knownHosts, trustFirstHostKey, path, folder }: SshAccessOptions): Access {
  if (credentials !== undefined && !credentials.includes("PRIVATE KEY-----")) {
    throw new Refused("the credentials of the repository are no private SSH key");
  }
  if (credentials !== undefined && hasPassphrase(credentials)) {
    throw new Refused("the private SSH key of the repository has a passphrase, and nobody is there to type it");
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const open: number[] = [];
  const close = () => {
    for (const fd of open.splice(0)) closeSync(fd);
  };
  const held = (fd: number) => {
    open.push(fd);
    return `/proc/${process.pid}/fd/${fd}`; // a path that git and ssh can open, without a character to be quoted
  };
  const heldText = (text: string) => {
    const fd = withoutName(folder);
    const path = held(fd);
    try {
      writeSync(fd, linesOf(text));
    } catch (error) {
      close(); // of a full disk each try would leave some
      throw error;
    }
    return path;
  };
  const seconds = limits.gitStallMs / 1000;
  const trusting = knownHosts === "" && trustFirstHostKey;
  const users =
    knownHosts !== ""
      ? heldText(knownHosts)
      : trusting
        ? held(openSync(join(folder, "known_hosts"), "a+", 0o600))
        : "/dev/null";
  const options = [
    ...["BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", `ConnectTimeout=${seconds}`],
    ...[`ServerAliveInterval=${seconds / 4}`, "ServerAliveCountMax=4"],
    `IdentityFile=${credentials === undefined ? "/dev/null" : heldText(credentials)}`,
    `StrictHostKeyChecking=${trusting ? "accept-new" : "yes"}`,
    `UserKnownHostsFile=${users}`,
    `GlobalKnownHostsFile=${knownHosts === "" ? machineKnownHosts : "/dev/null"}`,
  ];
  // In place of the shell that git starts it with, and no longer than git: a server that says nothing would keep it for good.
  const start = findTool("setpriv", path) === undefined ? "exec ssh" : "exec setpriv --pdeathsig KILL -- ssh";
  const command = [start, "-F /dev/null", ...options.map((option) => `-o ${option}`)].join(" ");
  return {
    environment: { GIT_SSH_COMMAND: command, GIT_SSH_VARIANT: "ssh" },
    async [Symbol.asyncDispose]() {
      close();
    },
  };
}

/** By its PEM headers, or the name of the cipher in OpenSSH's own format (PROTOCOL.key). */
function hasPassphrase(key: string): boolean {
  if (key.includes("ENCRYPTED")) return true;
  const body = /BEGIN OPENSSH PRIVATE KEY-----([A-Za-z0-9+/=\s]*)/.exec(key)?.[1];
  if (body === undefined) return false;
  const [magic, cipher] = ["openssh-key-v1\0", "\0\0\0\u0004none"];
  const text = Buffer.from(body, "base64").toString("latin1");
  return text.startsWith(magic) && !text.startsWith(cipher, magic.length);
}

/** As ssh wants them, however they were pasted. */
function linesOf(text: string): string {
  return `${text.replaceAll("\r\n", "\n").trimEnd()}\n`;
}

/** An empty file that only we can read, and that is gone when it is closed. */
function withoutName(folder: string): number {
  const path = join(folder, `open-${randomUUID()}`);
  const fd = openSync(path, "wx", 0o600);
  rmSync(path);
  return fd;
}
