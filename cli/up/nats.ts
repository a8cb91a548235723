import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { accessSync, constants } from "node:fs";
import { basename, delimiter, join } from "node:path";
import { promisify } from "node:util";
import { natsUsersText } from "../../shared/bus/nats-users.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { hostPort } from "../../shared/network-address.ts";
import { writePrivateFile } from "../../shared/private-file.ts";
import type { ServerTls } from "../../shared/tls/server-tls.ts";
import type { ChildSpec } from "./child.ts";

/** Debian 12 has 2.9.10; what older ones lack was not tried. */
const oldestVersion = [2, 9] as const;

/** Header and protocol bytes around the largest message. */
const payloadHeadroomBytes = 64 * 1024;

/**
 * Finds nats-server and checks its version.
 * @throws MillraceError failed_precondition, with the fix, when it is missing or too old.
 */
export async function findNatsServer(env: Readonly<Record<string, string | undefined>>): Promise<string> {
  // Debian keeps servers in /usr/sbin, which is not on every user's PATH.
  const file = findProgram("nats-server", `${env.PATH ?? ""}${delimiter}/usr/sbin${delimiter}/usr/local/sbin`);
  if (file === undefined) {
    throw new MillraceError(
      "failed_precondition",
      "nats-server is not installed. Install it (Debian and Ubuntu: `sudo apt-get install nats-server`), run\n" +
        "`sh deploy/bootstrap.sh` in a checkout, or name a running one to `millrace up` with --nats nats://HOST:PORT.",
    );
  }
  const version = await natsVersionOf(file);
  if (version === undefined || !isNewEnough(version)) {
    throw new MillraceError(
      "failed_precondition",
      `${file} has the version ${version?.join(".") ?? "?"}; Millrace needs ${oldestVersion.join(".")} or later. Install a newer nats-server.`,
    );
  }
  return file;
}

/** Major and minor of a nats-server; undefined when it does not tell. */
export async function natsVersionOf(file: string): Promise<readonly [number, number] | undefined> {
  try {
    return parseNatsVersion((await promisify(execFile)(file, ["--version"], { timeout: limits.childStartMs })).stdout);
  } catch (error) {
    throw from(error, `asking ${file} for its version`);
  }
}

/** Major and minor of what `nats-server --version` prints. */
export function parseNatsVersion(text: string): readonly [number, number] | undefined {
  const [, major, minor] = /v(\d+)\.(\d+)/.exec(text) ?? [];
  return major === undefined || minor === undefined ? undefined : [Number(major), Number(minor)];
}

function isNewEnough([major, minor]: readonly [number, number]): boolean {
  return major > oldestVersion[0] || (major === oldestVersion[0] && minor >= oldestVersion[1]);
}

/** A user of the embedded NATS. */
interface NatsUser {
  readonly user: string;
  readonly password: string;
}

/** Made anew at each start: nothing outside the data folder needs to know them. Agents have keys of their own. */
export interface NatsCredentials {
  readonly coordinator: NatsUser;
  /** How the coordinator says which agents may connect, and sees that the server has heard it. */
  readonly managed: {
    /** Of the system account. */
    readonly monitor: NatsUser;
    readonly usersFile: string;
    readonly pidFile: string;
  };
}

function newNatsCredentials(dir: string): NatsCredentials {
  const password = () => randomBytes(32).toString("hex");
  return {
    coordinator: { user: "coordinator", password: password() },
    managed: {
      monitor: { user: "monitor", password: password() },
      usersFile: join(dir, "users.conf"),
      pidFile: join(dir, "nats.pid"),
    },
  };
}

/** What the embedded NATS listens on. */
export interface NatsListener {
  readonly host: string;
  /** -1 is any free one. */
  readonly port: number;
  /** Undefined: plain. */
  readonly tls: Pick<ServerTls, "certFile" | "keyFile"> | undefined;
}

/**
 * The server's configuration. The users of the farm's account stand in a file that the coordinator writes whenever an agent
 * is let in or removed; each agent is held to its own subjects there.
 */
export function natsConfig({ host, port, tls }: NatsListener, { managed }: NatsCredentials): string {
  const text = JSON.stringify; // as nats-server reads strings: a path may have any character in it
  const { monitor, usersFile, pidFile } = managed;
  return `# Written by \`millrace up\` at each start; changes are lost.
server_name: millrace
listen: "${hostPort(host, port)}"
${tls === undefined ? "" : `tls { cert_file: ${text(tls.certFile)}, key_file: ${text(tls.keyFile)}, timeout: 5 }\n`}max_payload: ${limits.busMessageBytes + payloadHeadroomBytes}
pid_file: ${text(pidFile)}
system_account: SYSTEM
accounts {
  SYSTEM { users: [ { user: "${monitor.user}", password: "${monitor.password}" } ] }
  FARM { include "./${basename(usersFile)}" }
}
`;
}

export interface EmbeddedNatsOptions {
  readonly server: string;
  readonly dataDir: string;
  readonly host: string;
  readonly tls: NatsListener["tls"];
  /** 0 is any free one; the one that was taken is kept for later starts. */
  readonly port: number;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The embedded nats-server as a child; ready with its port. */
export function embeddedNats(options: EmbeddedNatsOptions): ChildSpec<number> & { readonly credentialsFile: string } {
  const { host, tls } = options;
  const dir = join(options.dataDir, "nats");
  const credentials = newNatsCredentials(dir);
  const credentialsFile = join(dir, "credentials.json");
  const { usersFile } = credentials.managed;
  const configFile = join(dir, "nats.conf");
  const guard = findProgram("setpriv", options.env.PATH ?? "");
  let port = options.port;
  let isFirstStart = true;
  return {
    name: "nats",
    credentialsFile,
    command() {
      writePrivateFile(credentialsFile, JSON.stringify(credentials));
      // Of an earlier `up`, it has passwords of then. From now on it is the coordinator's, also when the server falls.
      if (isFirstStart)
        writePrivateFile(usersFile, natsUsersText({ coordinator: credentials.coordinator, agents: [] }));
      isFirstStart = false;
      // To nats-server "any free port" is -1, and 0 its default port.
      writePrivateFile(configFile, natsConfig({ host, tls, port: port === 0 ? -1 : port }, credentials));
      const args = ["-c", configFile];
      if (guard === undefined) return { file: options.server, args, channel: false };
      // It knows nothing of us: the kernel ends it when we are gone.
      return { file: guard, args: ["--pdeathsig", "KILL", options.server, ...args], channel: false };
    },
    readyFrom(line) {
      const listening = /Listening for client connections on .*:(\d+)$/.exec(line)?.[1];
      if (listening !== undefined) port = Number(listening);
      return line.includes("Server is ready") ? port : undefined;
    },
  };
}

function findProgram(name: string, path: string): string | undefined {
  for (const folder of path.split(delimiter)) {
    if (folder === "") continue;
    try {
      accessSync(join(folder, name), constants.X_OK);
      return join(folder, name);
    } catch {
      // Not here; the next folder may have it.
    }
  }
  return undefined;
}
