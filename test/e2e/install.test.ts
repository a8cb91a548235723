import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { version } from "../../shared/version.ts";
import { type BareMachine, bareMachine, noBareMachine } from "../support/bare-machine.ts";
import { type CliResult, cliEnvironment, project, type RunningCli, startCli } from "../support/farm.ts";
import { createNetwork, type Host, type Network, noNetwork } from "../support/network.ts";
import { millrace } from "../support/program.ts";
import { say } from "../support/say.ts";
import { buildMs, singleFile } from "../support/single-file.ts";

// One machine has a farm. The other one has what Debian gives it: neither the checkout, nor the farm's folders, nor a Node.

const root = resolve(import.meta.dirname, "../..");
const dir = mkdtempSync(join(tmpdir(), "millrace-install-"));
const userHome = "/var/lib/millrace-agent";

let network: Network | undefined;
let host: Host;
let machine: BareMachine;
let farm: RunningCli;
let install: string;

beforeAll(async () => {
  network = await createNetwork();
  if (network === undefined) return say(noNetwork);
  const home = await network.host();
  const dist = join(dir, "dist");
  singleFile(dist, version);
  const ports = ["--grpc-port", "0", "--http-port", "0", "--nats-port", "0"];
  const args = ["up", "--data", join(dir, "data"), "--agents", "0", "--host", home.address, "--dist", dist, ...ports];
  const [file, all] = home.command(millrace, [...args, "--json"]);
  farm = startCli(all, environment(), file);
  await farm.line(/^\{"grpc"/);
  host = home;

  const bare = await bareMachine({ layers: ["etc", "var"], host: await network.host() });
  if (bare === undefined) throw new Error(noBareMachine);
  machine = bare;
  const made = await call("token", "create", "--role", "agent", "--json");
  install = (JSON.parse(made.stdout) as { install: string }).install;
}, buildMs);

afterAll(async () => {
  await machine?.remove();
  farm?.process.kill("SIGTERM");
  await farm?.result;
  await network?.remove();
  rmSync(dir, { recursive: true, force: true });
});

function environment(): NodeJS.ProcessEnv {
  const folder = join(dir, "user");
  mkdirSync(folder, { recursive: true });
  return cliEnvironment(folder);
}

/** The command line, on the farm's machine. */
function call(...args: string[]): Promise<CliResult> {
  const [file, all] = host.command(millrace, args);
  return startCli(all, environment(), file).result;
}

it("the pasted line makes a bare machine an agent that runs tasks, and takes it back without a trace", async () => {
  if (network === undefined) return;
  expect(machine.sh(`ls -A ${root} ${dir}; node --version`).output).toContain("No such file");
  const before = machine.changes();
  expect(before).toContain("/mnt/etc/upper 755");
  // What is there before is the folder of these tests, where they are a task of a Millrace themselves.
  const users = "cat /etc/passwd /etc/group /etc/shadow";
  const processes = "readlink /proc/[0-9]*/exe /proc/[0-9]*/cwd";
  const traces = () => machine.sh(`{ ${users}; ${processes}; } | grep millrace | sort -u`).output;
  const tracesBefore = traces();

  const dry = machine.sh(`${install} --dry-run --label bare=yes`);
  expect(dry).toMatchObject({ status: 0 });
  expect(dry.output).toContain(`would run: useradd`);
  expect(machine.changes()).toBe(before);

  const installed = machine.sh(`${install} --label bare=yes --slots 3 --name bare-1`);
  expect(installed, installed.output).toMatchObject({ status: 0 });
  expect(installed.output).toContain("agent bare-1 has joined");
  const source = project({
    "millrace.yaml": `name: p
stages:
  a:
    tasks:
      b: { run: "id -un; command -v node || echo no node; cat ${userHome}/token || echo no token", agents: { bare: "yes" } }
`,
  });
  const ran = await call("run", source);
  expect(ran.status, ran.stdout + ran.stderr).toBe(0);
  expect(ran.stdout).toContain("started on bare-1");
  expect(ran.stdout).toContain("│ millrace-agent");
  expect(ran.stdout).toContain("│ no node");
  expect(ran.stdout).toContain("│ no token");
  expect(machine.sh(`stat -c '%a %U' ${userHome} ${userHome}/token`).output).toBe(
    "700 millrace-agent\n600 millrace-agent\n",
  );
  expect(machine.sh("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ").output).not.toContain(
    install.split("--token ")[1],
  );

  const again = machine.sh(install.replace(/ --token .*/, ""));
  expect(again).toMatchObject({ status: 0 });
  expect(again.output).toContain("nothing to do");

  const removed = machine.sh(`${install.replace(/ --token .*/, "")} --uninstall`);
  expect(removed, removed.output).toMatchObject({ status: 0 });
  expect(traces()).toBe(tracesBefore);
  expect(
    machine
      .changes()
      .split("\n")
      .filter((path) => path.includes("millrace")),
  ).toEqual([]);
});

it("a script that does not come from the token's farm installs nothing", () => {
  if (network === undefined) return;
  const before = machine.changes();
  const other = install.replace(/\.[A-Za-z0-9_-]{43}$/, `.${"A".repeat(43)}`);
  const refused = machine.sh(other);
  expect(refused).toMatchObject({ status: 3 });
  expect(refused.output).toContain("does not come from the farm of the token");
  expect(machine.changes()).toBe(before);
});
