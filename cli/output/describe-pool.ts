import type { Pool, PoolSettings } from "../../proto/gen/millrace/v1/pool_pb.ts";
import type { Colors } from "./console.ts";
import { isoTime, millisOf } from "./labels.ts";
import { safeText } from "./safe-text.ts";
import { table } from "./table.ts";

/** All pools, a row each. */
export function poolTable(colors: Colors, pools: readonly Pool[]): string {
  const rows = pools.map((pool) => [
    pool.settings?.name ?? "",
    providerName(pool.settings),
    `${pool.ready}${pool.starting === 0 ? "" : ` +${pool.starting}`}${pool.leaving === 0 ? "" : ` -${pool.leaving}`}`,
    isStatic(pool) ? "" : String(pool.wanted),
    isStatic(pool) ? "" : `${pool.settings?.min ?? 0} to ${pool.settings?.max ?? 0}`,
    String(pool.queued),
    String(pool.running),
    remark(colors, pool),
  ]);
  return table(["POOL", "PROVIDER", "AGENTS", "WANTED", "BOUNDS", "QUEUED", "RUNNING", ""], rows);
}

function remark(colors: Colors, { removing, trouble, settings }: Pool): string {
  if (trouble !== undefined) return colors.red(safeText(trouble.message));
  if (removing) return colors.yellow("is being removed");
  return settings?.ephemeral === true ? colors.dim("ephemeral") : "";
}

/** For a person, in one sentence with numbers. */
export function describePool(pool: Pool): string {
  const { settings, ready, starting, leaving, wanted, trouble } = pool;
  const name = `pool ${settings?.name ?? ""}`;
  if (isStatic(pool)) return `${name}: ${ready} agents take work; people start them`;
  const going = leaving === 0 ? "" : `, ${leaving} leaving`;
  const problem =
    trouble === undefined ? "" : `; ${trouble.failures} failures in a row, the last one: ${trouble.message}`;
  return safeText(
    `${name}: ${ready} of ${wanted} wanted agents take work, ${starting} starting${going}, at most ${settings?.max ?? 0}${problem}`,
  );
}

/** Field names are a promise to scripts. */
export function poolJson({ settings, taskTime, trouble, removing, ...counts }: Pool) {
  const { wanted, ready, starting, leaving, queued, running } = counts;
  return {
    name: settings?.name ?? "",
    provider: providerName(settings),
    command: settings?.provider.case === "exec" ? settings.provider.value.command : undefined,
    min: settings?.min ?? 0,
    max: settings?.max ?? 0,
    targetWaitMs: millisOf(settings?.targetWait),
    idleTimeoutMs: millisOf(settings?.idleTimeout),
    joinTimeoutMs: millisOf(settings?.joinTimeout),
    ephemeral: settings?.ephemeral ?? false,
    slots: settings?.slots ?? 1,
    labels: settings?.labels ?? {},
    ...{ wanted, ready, starting, leaving, queued, running, removing },
    taskTimeMs: millisOf(taskTime) ?? null,
    trouble:
      trouble === undefined
        ? null
        : {
            message: trouble.message,
            failures: trouble.failures,
            time: isoTime(trouble.time),
            retryTime: isoTime(trouble.retryTime),
          },
  };
}

function isStatic({ settings }: Pool): boolean {
  return providerName(settings) === "static";
}

function providerName(settings: PoolSettings | undefined): string {
  switch (settings?.provider.case) {
    case "static":
      return "static";
    case "localProcess":
      return "local-process";
    case "exec":
      return "exec";
    default:
      return "unknown"; // of a newer coordinator
  }
}
