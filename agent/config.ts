import { readFileSync } from "node:fs";
import { availableParallelism, homedir } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { type ConfigSources, readConfig, secret } from "../shared/config.ts";
import { from, MillraceError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { nestingOf } from "../shared/nesting.ts";
import type { SandboxLevel } from "./runner/probe-sandbox.ts";

/** What an agent is told at its start. */
export interface AgentConfig {
  /** `host:port` of the coordinator. */
  readonly coordinator: string;
  /** With its fingerprint, as it was given. */
  readonly token: string | undefined;
  /** Where the keys for this farm are kept; undefined is in `data`, a file for each coordinator. Absolute. */
  readonly credentials?: string | undefined;
  /** Who vouches for a coordinator with a certificate of its operator's: `system`, or a file. */
  readonly tlsCa?: string | undefined;
  readonly slots: number;
  /** Without `os` and `arch`, which the agent finds out by itself. */
  readonly labels: Readonly<Record<string, string>>;
  /** Absolute. */
  readonly data: string;
  readonly name: string | undefined;
  /** What the local store may hold. */
  readonly storeBytes: number;
  /** What running tasks may have printed that the coordinator has not taken. */
  readonly spoolBytes: number;
  /** Tools to announce beside the usual ones: absolute paths, or names that are looked for. */
  readonly tools: readonly string[];
  /** Those alone: the usual ones are not looked for. */
  readonly onlyNamedTools?: boolean;
  /** Undefined is bubblewrap where it works. */
  readonly sandbox: SandboxLevel | undefined;
  /** Folders that tasks in a sandbox do not see, beside `data`; absolute. */
  readonly hide: readonly string[];
  /** Below which repositories may be read by their path; absolute. */
  readonly sourcePath?: readonly string[];
  /** Runs one task and ends. */
  readonly ephemeral: boolean;
  /** Holds the agent's id while the agent is a member of the farm; for whoever waits for that. Absolute. */
  readonly readyFile?: string | undefined;
  /** Farms that this agent is inside of. */
  readonly nesting: number;
  /** Its executable is its own to exchange. */
  readonly upgrade?: boolean;
  /** A newer program that is only tried: it takes no work. */
  readonly trial?: boolean;
}

/** A name, or a name and a file that is called so, since tasks call it by its name. */
const toolPattern = /^([a-z0-9][a-z0-9+._-]{0,62})(=\/(.*\/)?\1)?$/;

/** Given several times on the command line; in a variable, with spaces between. */
function list(one: z.ZodString) {
  return z.preprocess(
    (value) => (typeof value === "string" ? value.split(/\s+/).filter(Boolean) : value),
    z.array(one).default([]),
  );
}

const schema = z.object({
  coordinator: z
    .string()
    .regex(/^.+:\d+$/, "not host:port")
    .describe("the coordinator's gRPC address, such as farm.example.org:7070"),
  token: z.string().optional().meta(secret),
  tokenFile: z.string().optional().describe("a file that holds the token"),
  credentials: z.string().min(1).optional().describe("the file with the agent's keys for this farm"),
  tlsCa: z.string().min(1).optional().describe("`system`, or a file with certificates of authorities as PEM"),
  pool: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/, "not 1 to 64 of a-z, 0-9 and -")
    .default("default"),
  slots: z.coerce
    .number("not a number")
    .int("not a whole number")
    .min(1, "below 1")
    .max(limits.agentSlots, `above ${limits.agentSlots}`)
    .optional(),
  label: list(z.string().regex(/^[^=\s]+=[^\s]*$/, "not name=value")),
  data: z.string().default(join(homedir(), ".local/state/millrace/agent")),
  name: z.string().optional(),
  storeBytes: z.coerce
    .number("not a number")
    .int("not a whole number")
    .min(0, "below 0")
    .default(limits.storeBytes)
    .describe("what the local store may hold, in bytes; blobs that were not used for longest are evicted"),
  spoolBytes: z.coerce
    .number("not a number")
    .int("not a whole number")
    .min(limits.spoolBytesMin, `below ${limits.spoolBytesMin}`)
    .default(limits.spoolBytes)
    .describe(
      "output of running tasks that may wait while the coordinator is away, in bytes; beyond it the task with the most of it ends",
    ),
  tool: list(z.string().regex(toolPattern, "not a name, or name=/path/to/name")),
  onlyNamedTools: z
    .stringbool()
    .or(z.boolean())
    .default(false)
    .describe("true or false: look for no tools but those that --tool names"),
  sandbox: z.enum(["bubblewrap", "none"], "neither bubblewrap nor none").optional(),
  hide: list(z.string()),
  sourcePath: list(z.string()),
  readyFile: z.string().optional(),
  upgrade: z
    .stringbool()
    .or(z.boolean())
    .default(false)
    .describe("true or false: take the coordinator's version when it is newer"),
  trial: z.boolean().default(false),
  ephemeral: z.stringbool().or(z.boolean()).default(false),
});

/** @throws MillraceError invalid_argument naming everything that is wrong; failed_precondition inside of too many farms */
export function readAgentConfig(sources: ConfigSources): AgentConfig {
  const { token, tokenFile, pool, label, data, hide, sourcePath, tool, credentials, ...rest } = readConfig(
    schema,
    sources,
  );
  const labels = Object.fromEntries(
    label.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]),
  );
  if (rest.ephemeral && (rest.slots ?? 1) > 1) {
    throw new MillraceError("invalid_argument", `--slots ${rest.slots}: an ephemeral agent runs one task, in one slot`);
  }
  return {
    coordinator: rest.coordinator,
    slots: rest.slots ?? (rest.ephemeral ? 1 : availableParallelism()),
    ephemeral: rest.ephemeral,
    name: rest.name,
    storeBytes: rest.storeBytes,
    tlsCa: rest.tlsCa,
    credentials: credentials === undefined ? undefined : resolve(credentials),
    spoolBytes: rest.spoolBytes,
    token: tokenFile === undefined ? token : readToken(tokenFile),
    labels: { ...labels, pool },
    data: resolve(data),
    tools: tool.map((one) => one.slice(one.indexOf("=") + 1)),
    onlyNamedTools: rest.onlyNamedTools,
    sandbox: rest.sandbox,
    hide: hide.map((folder) => resolve(folder)),
    sourcePath: sourcePath.map((folder) => resolve(folder)),
    readyFile: rest.readyFile === undefined ? undefined : resolve(rest.readyFile),
    trial: rest.trial,
    upgrade: rest.upgrade,
    nesting: nestingOf(sources.env),
  };
}

function readToken(file: string): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new MillraceError("invalid_argument", from(error, `--token-file ${file}`).message, { cause: error });
  }
}
