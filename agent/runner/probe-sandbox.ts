import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MillraceError } from "../../shared/errors.ts";
import type { ProcessEnd, Runner } from "./runner.ts";

/** What stands between a task and the machine; see sandbox.mjs. */
export type SandboxLevel = "bubblewrap" | "none";

/** Absolute and real. */
export interface SandboxFolders {
  /** Of the agent; the probe works in it and cleans up behind itself. */
  readonly data: string;
  /** What tasks must not see; `data` is one of them or in one. */
  readonly hidden: readonly string[];
}

/** Does what a task may and may not do, and ends as `exit 139` would if nobody looked closely. */
const script = `set -e
[ ! -e "$1/hidden" ]
[ $$ -ne 1 ]
! touch "$1/new" 2>/dev/null
! touch /millrace-probe 2>/dev/null
touch "$1/own/new" "$TMPDIR/new" /tmp/other
kill -SEGV $$`;

/**
 * The level to run tasks at: the one asked for, else bubblewrap where it works. It is tried with two real tasks, since
 * kernels, containers and programs differ too much to be asked.
 * @throws MillraceError failed_precondition when bubblewrap was asked for and does not work
 */
export async function chooseSandbox(
  wanted: SandboxLevel | undefined,
  runner: Pick<Runner, "start">,
  folders: SandboxFolders,
): Promise<SandboxLevel> {
  if (wanted === "none") return "none";
  const why = await whyNot(runner, folders);
  if (why === undefined) return "bubblewrap";
  if (wanted === undefined) return "none";
  throw new MillraceError(
    "failed_precondition",
    `--sandbox bubblewrap does not work on this machine: ${why}; install bubblewrap 0.8 or later, allow user ` +
      "namespaces, or start with --sandbox none",
  );
}

/** Why tasks cannot be put in a sandbox here; undefined when they can. */
async function whyNot(runner: Pick<Runner, "start">, folders: SandboxFolders): Promise<string | undefined> {
  try {
    return await probing(runner, folders, async (run, folder) => {
      const [probe, plain] = await Promise.all([
        run(["/bin/sh", "-c", script, "probe", folder]),
        run(["/bin/sh", "-c", "exit 139"]),
      ]);
      if (probe.signal === "SIGSEGV" && plain.code === 139) return undefined;
      return `a probe ended with ${probe.signal ?? probe.code}, another with ${plain.signal ?? plain.code}`;
    });
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Whether a sandbox can also be without the network: some containers forbid what bubblewrap does for that, and nothing else. */
export async function canCutNetwork(runner: Pick<Runner, "start">, folders: SandboxFolders): Promise<boolean> {
  return await probing(runner, folders, async (run) => (await run(["/bin/sh", "-c", "exit 0"], false)).code === 0);
}

type Run = (program: readonly string[], network?: boolean) => Promise<ProcessEnd>;

/** Tries real tasks in a folder that is gone afterwards. */
async function probing<T>(
  runner: Pick<Runner, "start">,
  { data, hidden }: SandboxFolders,
  tryIt: (run: Run, folder: string) => Promise<T>,
): Promise<T> {
  const folder = join(data, `sandbox-probe-${process.pid}`);
  const [own, temporary] = [join(folder, "own"), join(folder, "tmp")];
  const run: Run = async (program, network = true) => {
    const task = await runner.start({
      executionId: "",
      attempt: 0,
      arguments: program,
      environment: { PATH: "/usr/bin:/bin", TMPDIR: temporary },
      workingFolder: own,
      spool: join(folder, "spool"),
      sandbox: { hidden, readable: [], writable: [own, temporary], temporary, network },
    });
    return await task.ended;
  };
  try {
    for (const each of [own, temporary]) mkdirSync(each, { recursive: true });
    writeFileSync(join(folder, "hidden"), "");
    return await tryIt(run, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
