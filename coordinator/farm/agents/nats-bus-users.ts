import { open, readFile, rename } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import type { Bus } from "../../../shared/bus/bus.ts";
import { natsUsersText } from "../../../shared/bus/nats-users.ts";
import type { Clock } from "../../../shared/clock.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import type { Component } from "../../../shared/lifecycle.ts";
import { limits } from "../../../shared/limits.ts";
import type { BusUser, BusUsers } from "./bus-users.ts";

/** A nats-server on this machine whose users are ours to say. */
export interface ManagedNats {
  readonly coordinator: { readonly user: string; readonly password: string };
  /** Included by its configuration. */
  readonly usersFile: string;
  /** Written by it at its start. */
  readonly pidFile: string;
}

export interface NatsBusUsersDeps {
  readonly nats: ManagedNats;
  /** Signed in to the system account of the same server. */
  readonly monitor: Bus;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

/**
 * The users of an embedded nats-server: a file that its configuration includes, and a SIGHUP. A server that starts reads
 * the file by itself; but it may have read the one before when ours was renamed into place, and not yet have written its
 * process id. So whenever it is there (again), it is told to read once more.
 */
export function natsBusUsers({ nats, monitor, clock, onError }: NatsBusUsersDeps): BusUsers & Component {
  let wanted: readonly BusUser[] | undefined;
  let next: Promise<void> | undefined;
  let last: Promise<unknown> = Promise.resolve();
  let isUp = false;
  let endWatch = (): void => {};
  let cancelRetry = (): void => {};

  /** Once for all who ask before the turn begins, which is when what was under way has ended. */
  function takeTurn(): Promise<void> {
    if (next !== undefined) return next;
    const turn = last.then(async () => {
      await new Promise(setImmediate); // what is asked for in the same breath
      next = undefined;
      cancelRetry();
      await apply(wanted ?? []).catch((error: unknown) => {
        // Whoever is enrolled must get in in the end, also when nobody else is let in or removed.
        cancelRetry = clock.after(limits.retryMaxMs, retry);
        throw error;
      });
    });
    next = turn;
    last = turn.catch(() => undefined); // its callers hear of it
    return turn;
  }

  function retry(): void {
    takeTurn().catch(onError);
  }

  async function apply(users: readonly BusUser[]): Promise<void> {
    await writeWhole(nats.usersFile, natsUsersText({ coordinator: nats.coordinator, agents: users }));
    if (!isUp) return; // it reads the file when it starts, and is told again when we reach it
    try {
      await reload();
    } catch (error) {
      if (isUp) throw error;
    }
  }

  async function reload(): Promise<void> {
    const before = await loadTime();
    const pid = await natsPid(nats.pidFile);
    if (pid === undefined) throw new MillraceError("unavailable", `${nats.pidFile} names no nats-server that runs`);
    process.kill(pid, "SIGHUP");
    const giveUpMs = clock.monotonicMs() + limits.busReloadMs;
    while ((await loadTime()) === before) {
      if (clock.monotonicMs() >= giveUpMs) {
        throw new MillraceError(
          "unavailable",
          `the nats-server did not take up the users in ${nats.usersFile} within ${limits.busReloadMs} ms; see its log`,
        );
      }
      await pause(limits.busReloadPollMs);
    }
  }

  /** When the server read its configuration last, in its own words. */
  async function loadTime(): Promise<string> {
    const asked = { timeoutMs: limits.busReloadMs };
    const answer = await monitor.request("$SYS.REQ.SERVER.PING.VARZ", new Uint8Array(), asked);
    const { data } = JSON.parse(new TextDecoder().decode(answer)) as { data?: { config_load_time?: string } };
    if (data?.config_load_time !== undefined) return data.config_load_time;
    throw new MillraceError("failed_precondition", "the nats-server does not say when it read its configuration");
  }

  return {
    name: "users of the bus",
    async start() {
      endWatch = monitor.watchConnection((up) => {
        isUp = up;
        if (up && wanted !== undefined) retry();
      });
    },
    async stop() {
      endWatch();
      await last;
      cancelRetry();
    },
    admit(users) {
      wanted = users;
      return takeTurn();
    },
  };
}

/** Readers see the old text or the new one, also after a power failure. */
async function writeWhole(file: string, text: string): Promise<void> {
  const temporary = `${file}.new`;
  try {
    const handle = await open(temporary, "w", 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    throw from(error, `writing the users of the bus to ${file}`);
  }
}

/** Never another process that has the number now: a SIGHUP ends most programs. */
async function natsPid(pidFile: string): Promise<number | undefined> {
  const pid = Number((await textOf(pidFile)) ?? "");
  if (!Number.isSafeInteger(pid) || pid <= 1) return undefined;
  const command = await textOf(`/proc/${pid}/cmdline`);
  return command?.split("\0")[0]?.includes("nats-server") === true ? pid : undefined;
}

async function textOf(file: string): Promise<string | undefined> {
  return readFile(file, "utf8").catch((error: unknown) => {
    if (from(error).code === "not_found") return undefined;
    throw from(error, `reading ${file}`);
  });
}
