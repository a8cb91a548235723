import { homedir } from "node:os";
import { join } from "node:path";
import { MillraceError } from "../../shared/errors.ts";
import { ownProgram } from "../../shared/single-file.ts";
import type { Credentials } from "../credentials.ts";
import { onInterrupts } from "../follow/interrupts.ts";
import { startFarm } from "./farm.ts";

export interface LocalFarmOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Told what its parts have to say when something goes wrong. */
  report(part: string, problem: string): void;
}

/**
 * Starts a farm of one agent for one purpose and stops it afterwards. Its data folder is the same each time, so that what
 * was cached stays so; it is not the one of `millrace up`, and the user's command line does not learn of it.
 * @throws MillraceError failed_precondition when another process has its data folder, canceled when a signal came first
 */
export async function withLocalFarm<T>(
  { env, report }: LocalFarmOptions,
  use: (farm: Credentials) => Promise<T>,
): Promise<T> {
  const starting = new AbortController();
  const release = onInterrupts([
    () => starting.abort(new MillraceError("canceled", "interrupted; no run was started")),
  ]);
  const farm = await startFarm({
    dataDir: localDataDir(env),
    agents: 1,
    slots: undefined,
    host: "127.0.0.1",
    ports: { grpc: 0, http: 0, nats: 0 },
    nats: undefined,
    self: ownProgram,
    env,
    isPrivate: true,
    signal: starting.signal,
    report,
  }).finally(release);
  try {
    return await use({ address: farm.grpc, token: farm.token });
  } finally {
    await farm.stop();
  }
}

/** By the XDG base directory specification, for a cache is what it is: MILLRACE_LOCAL_DATA, else below the user's cache. */
function localDataDir(env: LocalFarmOptions["env"]): string {
  const cache = env.XDG_CACHE_HOME || join(homedir(), ".cache");
  return env.MILLRACE_LOCAL_DATA || join(cache, "millrace", "local");
}
