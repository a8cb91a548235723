import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { splitAddress } from "../../shared/network-address.ts";
import { openAuthority } from "../../shared/tls/authority.ts";
import { publicKeyPinOf } from "../../shared/tls/fingerprint.ts";
import { type CliResult, cliEnvironment, project, type RunningCli, startCli } from "../support/farm.ts";
import { createNetwork, type Host, type Network, noNetwork } from "../support/network.ts";
import { millrace } from "../support/program.ts";
import { say } from "../support/say.ts";

// A farm and people and agents on other machines, each in a network namespace of its own.

const dir = mkdtempSync(join(tmpdir(), "millrace-tls-"));

/** A machine whose user knows of nothing that the others have. */
interface Machine {
  readonly host: Host;
  start(program: string, ...args: string[]): RunningCli;
  call(...args: string[]): Promise<CliResult>;
  readonly folder: string;
}

interface UpFarm {
  readonly grpc: string;
  readonly http: string;
  readonly nats: string;
  readonly data: string;
  stop(): Promise<void>;
}

async function machine(name: string): Promise<Machine> {
  if (network === undefined) throw new Error("no network");
  const host = await network.host();
  const folder = join(dir, name);
  mkdirSync(folder);
  const start = (program: string, ...args: string[]) => {
    const [file, all] = host.command(program, args);
    return startCli(all, cliEnvironment(folder), file);
  };
  return { host, start, folder, call: (...args) => start(millrace, ...args).result };
}

const anyPorts = ["--grpc-port", "0", "--http-port", "0", "--nats-port", "0"];

async function up(on: Machine, folder: string, ...args: string[]): Promise<UpFarm> {
  const running = on.start(millrace, "up", "--data", join(on.folder, folder), ...args, "--json");
  const ready = JSON.parse(await running.line(/^\{"grpc"/)) as Omit<UpFarm, "stop">;
  return {
    ...ready,
    async stop() {
      running.process.kill("SIGTERM");
      await running.result;
    },
  };
}

/** Of the farm's gRPC, as other machines see it. */
const addressOf = (farm: UpFarm) => `${home.host.address}:${splitAddress(farm.grpc).port}`;

/** For another farm in its place. */
const portsOf = (other: UpFarm) =>
  (["grpc", "http", "nats"] as const).flatMap((name) => {
    const port = name === "grpc" ? splitAddress(other.grpc).port : Number(new URL(other[name]).port);
    return [`--${name}-port`, String(port)];
  });

async function newToken(role: "developer" | "agent", ...more: string[]): Promise<string> {
  const { stdout } = await home.call("token", "create", "--role", role, ...more, "--json");
  return (JSON.parse(stdout) as { token: string }).token;
}

let network: Network | undefined;
let home: Machine;
let away: Machine;
let farm: UpFarm;

beforeAll(async () => {
  network = await createNetwork();
  if (network === undefined) return say(noNetwork);
  [home, away] = [await machine("home"), await machine("away")];
  // Everywhere: so the farm has no one address of its own to tell its agents.
  farm = await up(home, "data", "--host", "0.0.0.0", "--agents", "1", ...anyPorts);
});

afterAll(async () => {
  await farm?.stop();
  await network?.remove();
  rmSync(dir, { recursive: true, force: true });
});

const pipeline = (pool: string) =>
  project({
    "millrace.yaml": `name: p\nstages:\n  s:\n    tasks:\n      t: { run: "echo ran in ${pool}", agents: { pool: ${pool} } }\n`,
  });

test("on its own machine the command line and the agents find a farm with TLS by themselves", async ({ skip }) => {
  if (network === undefined) return skip(noNetwork);
  expect(farm.http).toMatch(/^https:/);
  expect(farm.nats).toMatch(/^tls:/);
  const { status, stdout } = await home.call("run", pipeline("default"));
  expect(stdout).toContain("ran in default");
  expect(status).toBe(0);
});

test("a token is all that another machine needs, for an agent and for the command line", async ({ skip }) => {
  if (network === undefined) return skip(noNetwork);
  const data = join(away.folder, "agent");
  const named = ["--data", data, "--name", "away", "--json"];
  const agent = away.start(
    millrace,
    ...["agent", "--coordinator", addressOf(farm), "--token", await newToken("agent", "--pool", "away"), ...named],
  );
  await agent.line(/"state":"online"/);
  const token = await newToken("developer");
  const { status, stdout } = await away.call("run", pipeline("away"), "--address", addressOf(farm), "--token", token);
  expect(stdout).toContain("ran in away");
  expect(status).toBe(0);
  const [kept = ""] = globSync(join(data, "enrolments/*.ca.pem"));
  expect(readFileSync(kept, "utf8")).toBe(readFileSync(join(farm.data, "coordinator/tls/ca.pem"), "utf8"));
  expect(statSync(kept).mode & 0o777).toBe(0o600);
  agent.process.kill("SIGTERM");
  expect((await agent.result).status).toBe(0);
});

test("nothing that is plain is served", async ({ skip }) => {
  if (network === undefined) return skip(noNetwork);
  const token = await newToken("developer");
  const [secret = ""] = token.split(".");
  const plain = await away.call("runs", "--address", addressOf(farm), "--token", secret);
  expect(plain.stderr).toMatch(/speaks TLS, and the token does not say whose/);
  expect(plain.status).not.toBe(0);
  const { host } = home;
  const http = await away.start("curl", "-sS", `http://${host.address}:${new URL(farm.http).port}/healthz`).result;
  expect([http.status, http.stdout]).not.toEqual([0, "ok\n"]);
  expect(http.stdout).not.toContain("ok");
  const nats = `exec 3<>/dev/tcp/${host.address}/${new URL(farm.nats).port}; printf 'CONNECT {}\\r\\nPING\\r\\n' >&3; cat <&3`;
  const said = await away.start("bash", "-c", nats).result;
  expect(said.stdout).toContain('"tls_required":true');
  expect(said.stdout).not.toContain("PONG");
});

test("curl holds the coordinator to the pin of its key, also with -k", async ({ skip }) => {
  if (network === undefined) return skip(noNetwork);
  const pin = publicKeyPinOf(readFileSync(join(farm.data, "coordinator/tls/server.pem"), "utf8"));
  const url = `https://${home.host.address}:${new URL(farm.http).port}/healthz`;
  const curl = (pinned: string) => away.start("curl", "-fsSk", "--pinnedpubkey", pinned, url).result;
  expect(await curl(pin)).toMatchObject({ status: 0, stdout: expect.stringContaining("ok") });
  const other = `sha256//${Buffer.alloc(32).toString("base64")}`;
  expect(await curl(other)).toMatchObject({ status: 90, stdout: "" }); // CURLE_SSL_PINNEDPUBKEYNOTMATCH
});

test("with a certificate of the operator's, names and chain are checked, and tokens have no fingerprint", async ({
  skip,
}) => {
  if (network === undefined) return skip(noNetwork);
  const operator = await machine("operator");
  const { address } = operator.host;
  const keys = await openAuthority({ folder: join(operator.folder, "ca"), names: [address], nowMs: Date.now() });
  const tls = ["--tls-cert", keys.certFile, "--tls-key", keys.keyFile, "--tls-ca", keys.authority.caFile];
  const own = await up(operator, "data", "--host", address, "--agents", "1", ...tls, ...anyPorts);
  try {
    const { stdout } = await operator.call("token", "create", "--role", "developer", "--json");
    const { token } = JSON.parse(stdout) as { token: string };
    expect(token).not.toContain(".");
    const asking = ["agents", "--json", "--address", own.grpc, "--token", token];
    const known = await away.call(...asking, "--tls-ca", keys.authority.caFile);
    expect(JSON.parse(known.stdout)).toMatchObject({ agents: [{ id: "agent-1", state: "online" }] });
    expect((await away.call(...asking, "--tls-ca", "system")).stderr).toMatch(
      /is not accepted: self-signed certificate/,
    );
    expect((await away.call(...asking)).stderr).toMatch(/speaks TLS, and the token does not say whose/);
  } finally {
    await own.stop();
  }
});

test("with --insecure all is plain, and that is said", async ({ skip }) => {
  if (network === undefined) return skip(noNetwork);
  const careless = await machine("careless");
  const running = careless.start(
    millrace,
    ...["up", "--data", join(careless.folder, "data"), "--host", careless.host.address, "--insecure"],
    ...["--agents", "0", ...anyPorts, "--json"],
  );
  const { grpc, http } = JSON.parse(await running.line(/^\{"grpc"/)) as UpFarm;
  expect(http).toMatch(/^http:/);
  await running.line(/--insecure: whoever is on the network .* can read tokens/);
  const { stdout } = await careless.call("token", "create", "--role", "agent", "--json");
  const { token } = JSON.parse(stdout) as { token: string };
  const joining = ["agent", "--coordinator", grpc, "--token", token, "--data", join(away.folder, "plain"), "--json"];
  const agent = away.start(millrace, ...joining);
  await agent.line(/"state":"online"/);
  for (const one of [agent, running]) {
    one.process.kill("SIGTERM");
    expect((await one.result).status).toBe(0);
  }
});

test("who answers in the farm's place is refused by all that know the farm, and by all that have its token", async ({
  skip,
}) => {
  if (network === undefined) return skip(noNetwork);
  const known = ["--address", addressOf(farm), "--token", await newToken("developer")];
  const agentArgs = ["agent", "--coordinator", addressOf(farm), "--token", await newToken("agent")];
  agentArgs.push("--data", join(away.folder, "agent"));
  expect((await away.call("runs", ...known)).status).toBe(0);
  const ports = portsOf(farm);
  await farm.stop();
  const impostor = await up(home, "impostor", "--host", "0.0.0.0", "--agents", "0", ...ports);
  try {
    const refusal = /is not the farm that the token is for: it shows the CA .{43}, not .{43}/;
    // One has never seen the farm, the other keeps its CA.
    const refused = [(await machine("stranger")).call("runs", ...known), away.call("runs", ...known)];
    for (const { stderr, status } of await Promise.all([...refused, away.call(...agentArgs)])) {
      expect(stderr).toMatch(refusal);
      expect(stderr).toContain("millrace token create");
      expect(status).not.toBe(0);
    }
  } finally {
    await impostor.stop();
  }
  farm = await up(home, "data", "--host", "0.0.0.0", "--agents", "0", ...ports);
  // The same data folder is the same farm: what was kept of it still holds.
  expect(await away.call("runs", ...known)).toMatchObject({ status: 0 });
});

test("a restored farm is the farm of the tokens, agents and fingerprints of before", async ({ skip }) => {
  if (network === undefined) return skip(noNetwork);
  const known = ["--address", addressOf(farm), "--token", await newToken("developer")];
  const agentArgs = ["agent", "--coordinator", addressOf(farm), "--data", join(away.folder, "member"), "--json"];
  const member = away.start(millrace, ...agentArgs, "--token", await newToken("agent"), "--name", "member");
  await member.line(/"state":"online"/);
  const backup = join(home.folder, "backup");
  const made = await home.call("admin", "backup", backup);
  expect(made.status, made.stderr).toBe(0);
  const ports = portsOf(farm);
  member.process.kill("SIGTERM");
  await Promise.all([farm.stop(), member.result]);

  const restoring = ["admin", "restore", backup, "--data", join(home.folder, "restored", "coordinator")];
  const restored = await home.call(...restoring);
  expect(restored.status, restored.stderr).toBe(0);
  farm = await up(home, "restored", "--host", "0.0.0.0", "--agents", "0", ...ports);
  expect(await away.call("runs", ...known)).toMatchObject({ status: 0 });
  // No token: the farm must know it by its keys.
  const again = away.start(millrace, ...agentArgs, "--name", "member");
  await again.line(/"state":"online"/);
  again.process.kill("SIGTERM");
  expect((await again.result).status).toBe(0);
});
