import { hash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { z } from "zod";
import { from, MillraceError } from "../../../shared/errors.ts";
import { writePrivateFile } from "../../../shared/private-file.ts";

/** A key of 32 bytes, named by what it is: 16 hexadecimal digits of its SHA-256, so that no other key can have its name. */
export interface SecretKey {
  readonly id: string;
  readonly bytes: Buffer;
}

/** The keys under which secrets are stored, in a file that only the coordinator's user may read. */
export interface SecretKeys {
  /** What is encrypted from now on is under this one. */
  current(): SecretKey;
  /** Throws `failed_precondition` when the file does not have it. */
  find(id: string): SecretKey;
  /** A new key is current; the ones before stay until `forgetOld`. On disk when it returns. */
  renew(): SecretKey;
  /** The current one is the only one in the file. A value that was read before can still be decrypted in this process. */
  forgetOld(): void;
  /** There are keys beside the current one: a rotation was not finished. */
  hasOld(): boolean;
}

export interface SecretKeysOptions {
  readonly path: string;
  /** Ids of the keys under which there are values. */
  readonly used: readonly string[];
}

/** The current one first. */
const stored = z.object({ keys: z.array(z.string().regex(/^[0-9a-f]{64}$/)).min(1) });

/**
 * Makes the file where nothing is encrypted yet. Never where something is: a new key opens nothing of it.
 * @throws MillraceError failed_precondition when a key that is used is not there, data_loss when the file is damaged
 */
export function openSecretKeys({ path, used }: SecretKeysOptions): SecretKeys {
  const kept = readKeys(path);
  let keys = kept ?? [];
  requireAll(keys, used, { path, isThere: kept !== undefined });
  const known = new Map(keys.map((key) => [key.id, key]));

  function write(next: readonly SecretKey[]): void {
    const text = JSON.stringify({ keys: next.map(({ bytes }) => bytes.toString("hex")) });
    writePrivateFile(path, `${text}\n`, { durable: true });
    keys = [...next];
    for (const key of next) known.set(key.id, key);
  }

  function current(): SecretKey {
    const [first] = keys;
    if (first === undefined) throw new MillraceError("internal", `${path} holds no key`);
    return first;
  }

  if (keys.length === 0) write([keyOf(randomBytes(32))]);
  return {
    current,
    find(id) {
      const key = known.get(id);
      if (key === undefined) throw new MillraceError("failed_precondition", `${path} does not hold the key ${id}`);
      return key;
    },
    renew() {
      write([keyOf(randomBytes(32)), ...keys]);
      return current();
    },
    forgetOld: () => write([current()]),
    hasOld: () => keys.length > 1,
  };
}

function keyOf(bytes: Buffer): SecretKey {
  return { id: hash("sha256", bytes).slice(0, 16), bytes };
}

function readKeys(path: string): SecretKey[] | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const failure = from(error, "reading the key of the secrets");
    if (failure.code === "not_found") return undefined;
    throw failure;
  }
  // Never the text itself in a message: it holds keys.
  const damaged = new MillraceError(
    "data_loss",
    `${path} is damaged: put back the file as it was, or name a copy of it with --secret-key-file; --forget-secrets ` +
      "removes all secrets instead, with a file that is moved out of the way",
  );
  try {
    return stored.parse(JSON.parse(text)).keys.map((hex) => keyOf(Buffer.from(hex, "hex")));
  } catch {
    throw damaged;
  }
}

interface KeyFileState {
  readonly path: string;
  readonly isThere: boolean;
}

function requireAll(keys: readonly SecretKey[], used: readonly string[], { path, isThere }: KeyFileState): void {
  const lacking = used.filter((id) => !keys.some((key) => key.id === id));
  if (lacking.length === 0) return;
  const which = `secrets are stored under the key ${lacking.join(" and ")}`;
  const where = isThere ? `${path} holds ${keys.map(({ id }) => id).join(" and ")} instead` : `${path} is not there`;
  throw new MillraceError(
    "failed_precondition",
    `${which}, and ${where}: put the right file there or name it with --secret-key-file (a backup has it only when it was ` +
      "made with --with-secret-key); where it is lost for good, start once with --forget-secrets and set the secrets anew",
  );
}
