import { hash } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { type BusKey, newBusKey } from "../../shared/bus/bus-key.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { writePrivateFile } from "../../shared/private-file.ts";
import { newSecret } from "../../shared/rpc/secret.ts";

/** With what an agent shows one farm who it is. It made all of it itself. */
export interface AgentKeys extends BusKey {
  /** Its bearer in every call. */
  readonly secret: string;
  /** The farm has said that it let them in; until then the same keys ask again. */
  readonly isEnrolled: boolean;
}

/** The keys for one farm, in a file that only the agent's user may read. */
export interface KeyFile {
  /** For a person. */
  readonly path: string;
  /** Undefined before the first ones are made. */
  current(): AgentKeys | undefined;
  /** Makes new ones. They are on disk before they are used: what the farm knows must not be lost with the process. */
  renew(): AgentKeys;
  /** Goes back to earlier ones: the farm did not want the new ones, and what it says of the old ones tells more. */
  restore(earlier: AgentKeys): void;
  markEnrolled(): void;
}

const stored = z.object({
  coordinator: z.string(),
  seed: z.string(),
  publicKey: z.string(),
  secret: z.string(),
  isEnrolled: z.boolean(),
});

/**
 * @param coordinator said in the file, for a person who looks for the one of a farm
 * @throws MillraceError data_loss when the file is damaged
 */
export function openKeyFile(path: string, coordinator: string): KeyFile {
  let keys = readKeys(path);

  function write(next: AgentKeys): AgentKeys {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const { seed, publicKey, secret, isEnrolled } = next;
    const text = JSON.stringify({ coordinator, seed, publicKey, secret, isEnrolled });
    writePrivateFile(path, `${text}\n`, { durable: true });
    keys = next;
    return next;
  }

  return {
    path,
    current: () => keys,
    renew: () => write({ ...newBusKey(), secret: newSecret(), isEnrolled: false }),
    restore: write,
    markEnrolled() {
      if (keys !== undefined && !keys.isEnrolled) write({ ...keys, isEnrolled: true });
    },
  };
}

function readKeys(path: string): AgentKeys | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const failure = from(error, "reading the agent's keys");
    if (failure.code === "not_found") return undefined;
    throw failure;
  }
  // Never the text itself in a message: it holds secrets.
  const problem = `${path} is damaged: delete it and start the agent with a new token (\`millrace token create --role agent\`)`;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new MillraceError("data_loss", problem);
  }
  const parsed = stored.safeParse(value);
  if (!parsed.success) throw new MillraceError("data_loss", problem);
  return parsed.data;
}

/** In the agent's data folder; one for each coordinator: an agent shows none of them what it has for another. */
export function keyFileOf(coordinator: string): string {
  return join("enrolments", `${hash("sha256", coordinator).slice(0, 16)}.json`);
}
