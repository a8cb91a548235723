import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { from, MillraceError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { splitAddress } from "../shared/network-address.ts";

/** Where the coordinator is, and the right to use it. */
export interface Credentials {
  /** `host:port` of its gRPC server. */
  readonly address: string;
  /** With its fingerprint, as it was given. */
  readonly token: string;
  /** Who vouches for a coordinator with a certificate of its operator's: `system`, or a file. */
  readonly tlsCa?: string;
}

/** What `millrace up` leaves for the command line of the same user: for each farm, the last started first. */
export interface StoredCredentials extends Credentials {
  /** Root of the HTTP server. */
  readonly http: string;
}

export interface CredentialSources {
  /** From --address, --token and --tls-ca. */
  readonly address?: string | undefined;
  readonly token?: string | undefined;
  readonly tlsCa?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Address and token: flags, then MILLRACE_ADDRESS and MILLRACE_TOKEN, then what `millrace up` left in MILLRACE_DATA or in
 * the user's configuration. A stored token is used only with the address it was stored for: it must not leak to another.
 * @throws MillraceError failed_precondition, saying what to do, when either is not known.
 */
export function resolveCredentials(sources: CredentialSources): Credentials {
  const address = sources.address ?? nonEmpty(sources.env.MILLRACE_ADDRESS);
  if (address !== undefined) requireAddress(address);
  const token = sources.token ?? nonEmpty(sources.env.MILLRACE_TOKEN);
  const tlsCa = sources.tlsCa ?? nonEmpty(sources.env.MILLRACE_TLS_CA);
  if (address !== undefined && token !== undefined) return { address, token, ...(tlsCa && { tlsCa }) };

  const files = credentialFiles(sources.env);
  const farms = files.flatMap(readStored);
  const stored = address === undefined ? farms[0] : farms.find((farm) => farm.address === address);
  if (address === undefined && stored === undefined) {
    throw new MillraceError(
      "failed_precondition",
      `no coordinator is known (looked at --address, MILLRACE_ADDRESS, ${files.join(", ")}).\n` +
        "Start one here with `millrace up --detach`, or give --address HOST:PORT and --token TOKEN.",
    );
  }
  const chosen = address ?? stored?.address ?? "";
  const chosenToken = token ?? stored?.token;
  if (chosenToken === undefined) {
    throw new MillraceError(
      "failed_precondition",
      `no token is known for ${chosen}. Give --token TOKEN or set MILLRACE_TOKEN.`,
    );
  }
  const chosenCa = tlsCa ?? stored?.tlsCa;
  return { address: chosen, token: chosenToken, ...(chosenCa && { tlsCa: chosenCa }) };
}

function requireAddress(address: string): void {
  try {
    splitAddress(address);
  } catch (error) {
    const failure = from(error, "--address or MILLRACE_ADDRESS");
    throw new MillraceError(
      failure.code,
      `${failure.message}: give the coordinator's gRPC address, such as 127.0.0.1:7070`,
    );
  }
}

/** What `millrace up` left in a data folder; undefined before its first start has ended. */
export function credentialsIn(dataDir: string): StoredCredentials | undefined {
  return readStored(dataFolderFile(dataDir))[0];
}

function dataFolderFile(dataDir: string): string {
  return join(dataDir, "credentials.json");
}

/** In the order in which they are read. */
function credentialFiles(env: CredentialSources["env"]): string[] {
  const data = nonEmpty(env.MILLRACE_DATA);
  return [...(data === undefined ? [] : [dataFolderFile(data)]), userCredentialsFile(env)];
}

/** The same user's file, by the XDG base directory specification. */
export function userCredentialsFile(env: CredentialSources["env"]): string {
  return join(nonEmpty(env.XDG_CONFIG_HOME) ?? join(homedir(), ".config"), "millrace", "credentials.json");
}

/**
 * The text of the user's file once this farm has been started: first, and so the one that is meant when no address is
 * given. Those started before stay known by their addresses, the last `limits.storedFarms` of them.
 */
export function withFarm(file: string, farm: StoredCredentials): string {
  const others = readKnown(file).filter(({ address }) => address !== farm.address);
  return `${JSON.stringify({ ...farm, others: others.slice(0, limits.storedFarms - 1) })}\n`;
}

/** A file that is broken is no reason not to start: it is replaced. */
function readKnown(file: string): StoredCredentials[] {
  try {
    return readStored(file);
  } catch (error) {
    if (from(error).code === "failed_precondition") return [];
    throw error;
  }
}

/** The farms in a file, the last started first; none when it is not there. */
function readStored(file: string): StoredCredentials[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const failure = from(error, `reading the stored credentials in ${file}`);
    if (failure.code === "not_found") return [];
    throw failure;
  }
  const farms = parseStored(text);
  if (farms !== undefined) return farms;
  throw new MillraceError(
    "failed_precondition",
    `${file} is not what \`millrace up\` writes. Delete it and start \`millrace up\` again.`,
  );
}

function parseStored(text: string): StoredCredentials[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined; // Not JSON; the caller says so.
  }
  const others: unknown = typeof value === "object" && value !== null && "others" in value ? value.others : [];
  if (!Array.isArray(others)) return undefined;
  const farms = [value, ...(others as unknown[])].map(farmIn);
  return farms.every((farm) => farm !== undefined) ? farms : undefined;
}

function farmIn(value: unknown): StoredCredentials | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  if (!("address" in value && "http" in value && "token" in value)) return undefined;
  const { address, http, token } = value;
  if (typeof address !== "string" || typeof http !== "string" || typeof token !== "string") return undefined;
  const tlsCa = "tlsCa" in value && typeof value.tlsCa === "string" ? { tlsCa: value.tlsCa } : {};
  return { address, http, token, ...tlsCa };
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}
