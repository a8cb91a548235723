import { join } from "node:path";
import { MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { ownProgram } from "../../shared/single-file.ts";
import { FolderInUse } from "../../shared/sqlite/folder-lock.ts";
import { cacheFolder } from "../cache-folder.ts";
import type { Credentials } from "../credentials.ts";
import { onInterrupts } from "../follow/interrupts.ts";
import type { Console } from "../output/console.ts";
import { whileShowing } from "../output/status-line.ts";
import { type Farm, startFarm } from "./farm.ts";

export interface LocalFarmOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Told what its parts have to say when something goes wrong. */
  report(part: string, problem: string): void;
  /** Where it is shown that the farm starts and ends, which takes seconds; nowhere without it. */
  readonly progress?: Console | undefined;
}

/**
 * Starts a farm of one agent for one purpose and stops it afterwards. Its data folder is the first that no other call has,
 * so what was cached stays so, and calls at the same time do not wait for each other. None of them is the folder of
 * `millrace up`, and the user's command line does not learn of the farm.
 * @throws MillraceError failed_precondition where a part of it is not installed, resource_exhausted when other processes
 * have all of its data folders, canceled when a signal came first
 */
export async function withLocalFarm<T>(options: LocalFarmOptions, use: (farm: Credentials) => Promise<T>): Promise<T> {
  const starting = new AbortController();
  const release = onInterrupts([
    () => starting.abort(new MillraceError("canceled", "interrupted; no run was started")),
  ]);
  const { progress } = options;
  const start = () => startInFreeFolder(options, starting.signal);
  const farm = await whileShowing(progress, () => "starting a farm for this", start).finally(release);
  try {
    return await use({ address: farm.grpc, token: farm.token });
  } finally {
    // What is in no hurry to end, such as a run that was left alone, is ended at once by one more Ctrl-C.
    const releaseStop = onInterrupts([() => farm.kill()]);
    await whileShowing(progress, () => "ending the farm", farm.stop).finally(releaseStop);
  }
}

async function startInFreeFolder({ env, report }: LocalFarmOptions, signal: AbortSignal): Promise<Farm> {
  for (const dataDir of localDataDirs(env)) {
    try {
      return await startFarm({
        ...{ dataDir, env, signal, report },
        agents: 1,
        slots: undefined,
        host: "127.0.0.1",
        ports: { grpc: 0, http: 0, nats: 0 },
        nats: undefined,
        self: ownProgram,
        isPrivate: true,
      });
    } catch (error) {
      if (!(error instanceof FolderInUse)) throw error;
    }
  }
  throw new MillraceError(
    "resource_exhausted",
    `${limits.localFarms} runs with --local go on already, which is the most. Wait for one, or use one farm for all: \`millrace up --detach\`.`,
  );
}

/**
 * In the order in which they are tried. By the XDG base directory specification, for a cache is what each is:
 * MILLRACE_LOCAL_DATA, else below the user's cache; then the same name with -2, -3 and so on.
 */
function localDataDirs(env: LocalFarmOptions["env"]): string[] {
  const first = env.MILLRACE_LOCAL_DATA || join(cacheFolder(env), "local");
  return Array.from({ length: limits.localFarms }, (_, index) => (index === 0 ? first : `${first}-${index + 1}`));
}
