import { type ChildProcess, execFileSync, type SpawnOptions, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { exitOf } from "./exit-of.ts";

/**
 * Machines on a network of their own: a network namespace each, joined by a bridge in one more. Nothing of the real machine
 * is touched, and nothing has a name outside: a namespace is there for as long as the process that holds it, which the
 * kernel ends with the test's own.
 */
export interface Network {
  /** One more machine, with the next free address. */
  host(): Promise<Host>;
  /** Ends what holds the namespaces; processes that run in them lose their network and nothing else. */
  remove(): Promise<void>;
}

/** One machine. */
export interface Host {
  readonly address: string;
  /** Another one, for those that claim the first for themselves; see `wayTo`. */
  readonly backAddress: string;
  /** Starts a program there. */
  spawn(file: string, args: readonly string[], options: SpawnOptions): ChildProcess;
  /** What `spawn` has to call, for those who start programs in a way of their own. */
  command(file: string, args: readonly string[]): [file: string, args: string[]];
  /** The cable is out (the machine sees that), or in again. */
  link(isUp: boolean): void;
  /** Packets vanish in both directions and nobody is told; or they come through again. */
  drop(isDropping: boolean): void;
  /** No more than this in each direction; undefined is as fast as it goes. */
  throttle(bytesPerSecond: number | undefined): void;
  /** The machine has this address, too, and tells nobody: what it sends there stays on the machine. */
  claim(address: string): void;
  /** A way of its own to another machine, which no `claim` gets in. Gives the address. */
  wayTo(other: Host): string;
}

/** Why a test on several machines is left out. */
export const noNetwork = "SKIPPED: only root may make network namespaces, and `ip` (iproute2) must be there";

/** Undefined where this user can make none. */
export async function createNetwork(): Promise<Network | undefined> {
  const probe =
    "ip link set lo up && ip link add name probe type veth peer name other && ip link add name bridge type bridge";
  if (spawnSync("unshare", ["--net", "sh", "-c", probe]).status !== 0) return undefined;
  const hub = await namespace();
  const holders = [hub];
  hub.run("ip link add name bridge type bridge && ip link set bridge up");
  let hosts = 0;
  return {
    async host() {
      hosts += 1;
      const number = hosts;
      const own = await namespace();
      holders.push(own);
      const port = `port${number}`;
      const address = `10.77.0.${number}`;
      const backAddress = `10.78.0.${number}`;
      hub.run(`ip link add name ${port} type veth peer name eth0 netns ${own.pid}
        ip link set ${port} master bridge up`);
      own.run(`echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore
        ip link set lo up
        ip address add ${address}/24 dev eth0
        ip address add ${backAddress}/32 dev eth0
        ip link set eth0 up`);
      return {
        address,
        backAddress,
        spawn: (file, args, options) => spawn(...own.command(file, args), options),
        command: own.command,
        link: (isUp) => hub.run(`ip link set ${port} ${isUp ? "up" : "down"}`),
        drop: (isDropping) => hub.run(`bridge link set dev ${port} state ${isDropping ? "0" : "3"}`),
        throttle(bytesPerSecond) {
          for (const [side, device] of [
            [own, "eth0"],
            [hub, port],
          ] as const) {
            side.run(`tc qdisc del dev ${device} root 2>/dev/null || true`);
            if (bytesPerSecond === undefined) continue;
            side.run(`tc qdisc add dev ${device} root tbf rate ${bytesPerSecond * 8}bit burst 32kb latency 200ms`);
          }
        },
        claim: (claimed) => own.run(`ip address add ${claimed}/32 dev lo`),
        wayTo(other) {
          own.run("ip route replace 10.78.0.0/16 dev eth0");
          return other.backAddress;
        },
      };
    },
    async remove() {
      await Promise.all(holders.map((holder) => holder.end()));
    },
  };
}

/** A network namespace, held by a process that does nothing. */
async function namespace() {
  const hold = ["--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"];
  const holder = spawn("setpriv", hold, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = exitOf(holder);
  await once(holder.stdout, "data");
  const pid = String(holder.pid);
  // What runs there ends with the test, however that ends.
  const command = (file: string, args: readonly string[]): [string, string[]] => [
    "setpriv",
    ["--pdeathsig", "KILL", "nsenter", "--target", pid, "--net", "--", file, ...args],
  ];
  return {
    pid,
    command,
    run: (script: string): void => void execFileSync(...command("sh", ["-ec", script])),
    async end() {
      holder.kill("SIGKILL");
      await ended;
    },
  };
}
