import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { exitOf } from "./exit-of.ts";
import type { Host } from "./network.ts";

const root = resolve(import.meta.dirname, "../..");

/**
 * This machine as one that has never seen us: no checkout, no Node, /tmp empty, a process list of its own. Nothing of the
 * real one can be written to; a layer over some of its folders takes what is changed there.
 */
export interface BareMachine {
  /** Runs a script as root; its standard input is that file. */
  sh(script: string, inputFile?: string): { readonly status: number | null; readonly output: string };
  /** All that was changed, with what tells one change from another. */
  changes(): string;
  /** Ends it and all that runs on it. */
  remove(): Promise<void>;
}

/** Why a test on a bare machine is left out. */
export const noBareMachine = "SKIPPED: only root may make mount namespaces";

export interface BareMachineOptions {
  /** Folders below / that can be changed. */
  readonly layers: readonly string[];
  /** Whose network it has; default this machine's. */
  readonly host?: Host;
}

const environment = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/",
  LANG: "C.UTF-8",
};

/** Undefined where this user can make none. */
export async function bareMachine({ layers, host }: BareMachineOptions): Promise<BareMachine | undefined> {
  if (spawnSync("unshare", ["--mount", "--pid", "--fork", "true"]).status !== 0) return undefined;
  const prepare = `set -e
mount -o remount,bind,ro /
mount -t tmpfs none /mnt
for folder in ${layers.join(" ")}; do
  mkdir -p /mnt/$folder/upper /mnt/$folder/work
  mount -t overlay overlay -o lowerdir=/$folder,upperdir=/mnt/$folder/upper,workdir=/mnt/$folder/work /$folder
done
mount -t tmpfs none ${root}
mount -t tmpfs none /tmp
chmod 1777 /tmp
node=$(command -v node) && mount --bind /dev/null "$(readlink -f "$node")"
echo ready
while :; do sleep 1; done`; // as process 1 it reaps
  const own = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", prepare];
  const [file, args] = host?.command("unshare", own) ?? ["unshare", own];
  const holder = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"], env: environment });
  const ended = exitOf(holder);
  await once(holder.stdout, "data");
  const first = readFileSync(`/proc/${holder.pid}/task/${holder.pid}/children`, "utf8").trim();

  function sh(script: string, inputFile = "/dev/null") {
    const input = openSync(inputFile, "r");
    const namespaces = ["--target", first, "--net", "--mount", "--pid"];
    const call = [...namespaces, "--", "sh", "-c", script];
    const stdio = [input, "pipe", "pipe"] as const;
    const { status, stdout, stderr } = spawnSync("nsenter", call, {
      encoding: "utf8",
      env: environment,
      stdio: [...stdio],
    });
    closeSync(input);
    return { status, output: stdout + stderr };
  }
  return {
    sh,
    changes: () => sh("find /mnt/*/upper /tmp -printf '%p %m %u %s %T@\\n' | sort").output,
    async remove() {
      holder.kill("SIGKILL");
      await ended;
    },
  };
}
