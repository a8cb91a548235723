import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { CommitSchema, EventSchema } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { namePattern } from "../../../shared/pipeline/reading.ts";
import type { SchemaPart, Sqlite } from "../../../shared/sqlite/sqlite.ts";
import { turns } from "../../../shared/turns.ts";
import type { EventKind } from "../../store/event-kind.ts";
import type { EventStore } from "../../store/event-store.ts";
import { decryptValue, encryptValue } from "./encryption.ts";
import { openSecretKeys, type SecretKeys } from "./secret-keys.ts";
import type { SecretValues } from "./secret-values.ts";
import type { SecretInfo, SecretName, Secrets } from "./secrets.ts";

export const secretSchema: SchemaPart = {
  name: "secrets",
  migrations: [
    // A removed one keeps its row without a value: its next value has a generation of its own.
    `CREATE TABLE secret (
     project TEXT NOT NULL,
     name TEXT NOT NULL,
     generation INTEGER NOT NULL,
     key_id TEXT NOT NULL,
     ciphertext BLOB,
     set_ms INTEGER NOT NULL,
     set_by TEXT NOT NULL,
     PRIMARY KEY (project, name)
   ) STRICT, WITHOUT ROWID`,
  ],
};

export interface StoredSecretsOptions {
  readonly sqlite: Sqlite;
  readonly store: EventStore;
  /** Made where there are no secrets yet. */
  readonly keyFile: string;
  /** Removes all secrets first: for a farm whose key is lost. */
  readonly forget: boolean;
  readonly clock: Clock;
}

interface Row {
  project: string;
  name: string;
  generation: number;
  key_id: string;
  ciphertext: Uint8Array | null;
}

/**
 * Secrets in the coordinator's database, encrypted. What happens to them is in the stream `secrets/<project>`, by name: the
 * event comes first, so that no value counts that the log knows nothing of; one whose value did not reach the disk was
 * answered with an error.
 * @throws MillraceError what `openSecretKeys` throws
 */
export async function openStoredSecrets(options: StoredSecretsOptions): Promise<Secrets & SecretValues> {
  const { sqlite, store, keyFile, forget, clock } = options;
  const known = await loadInfos(sqlite);
  const listeners = new Set<(project: string, name: string) => void>();
  /** One change at a time, the rotation of the key included. */
  const changes = turns();

  async function record(project: string, by: string, kind: EventKind): Promise<void> {
    const { token } = await store.read(streamOf(project));
    const event = create(EventSchema, { time: timestampFromMs(clock.nowMs()), principal: by, project, kind });
    await store.append(streamOf(project), token, create(CommitSchema, { events: [event] }));
  }

  async function remove({ project, name }: SecretName, by: string): Promise<void> {
    const info = known.get(keyOf(project, name));
    if (info === undefined || !info.isThere) {
      const message = `there is no secret "${name}" in the project ${project}; see \`millrace secret list\``;
      throw new MillraceError("not_found", message);
    }
    await record(project, by, { case: "secretRemoved", value: { project, secret: name } });
    const sql = "UPDATE secret SET ciphertext = NULL WHERE project = ? AND name = ?";
    await sqlite.write([{ sql, params: [project, name] }]);
    info.isThere = false;
  }

  if (forget) for (const info of known.values()) if (info.isThere) await remove(info, "system:secrets");
  const keys = openSecretKeys({ path: keyFile, used: await usedKeys(sqlite) });
  if (keys.hasOld()) await moveToCurrentKey(sqlite, keys);

  return {
    set: (secret, value, by) =>
      changes.take(async () => {
        const { project, name } = secret;
        const before = known.get(keyOf(project, name));
        requireFitting(secret, value, list(known, project).length - (before?.isThere === true ? 1 : 0));
        const generation = Math.max(before?.generation ?? 0, await lastGeneration(store, secret)) + 1;
        await record(project, by, { case: "secretSet", value: { project, secret: name, generation } });
        const key = keys.current();
        const setMs = clock.nowMs();
        const ciphertext = encryptValue(key, { project, name, generation }, value);
        const sql = `INSERT OR REPLACE INTO secret (project, name, generation, key_id, ciphertext, set_ms, set_by)
                     VALUES (?, ?, ?, ?, ?, ?, ?)`;
        await sqlite.write([{ sql, params: [project, name, generation, key.id, ciphertext, setMs, by] }]);
        const info = { project, name, generation, setMs, setBy: by };
        known.set(keyOf(project, name), { ...info, isThere: true });
        for (const listener of listeners) listener(project, name);
        return info;
      }),

    list: (project) => list(known, project),

    remove: (secret, by) => changes.take(() => remove(secret, by)),

    rotateKey: () =>
      changes.take(async () => {
        const { id } = keys.renew();
        return { keyId: id, secrets: await moveToCurrentKey(sqlite, keys) };
      }),

    missing: (project, names) => names.filter((name) => known.get(keyOf(project, name))?.isThere !== true),

    async read(project, names) {
      const sql = "SELECT project, name, generation, key_id, ciphertext FROM secret WHERE project = ?";
      const values = new Map<string, Uint8Array>();
      for (const row of await sqlite.query<Row>(sql, [project])) {
        if (row.ciphertext === null || !names.includes(row.name)) continue;
        values.set(row.name, decryptValue(keys.find(row.key_id), row, row.ciphertext));
      }
      return values;
    },

    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

type Known = SecretInfo & { isThere: boolean };

async function loadInfos(sqlite: Sqlite): Promise<Map<string, Known>> {
  const sql = `SELECT project, name, generation, set_ms AS setMs, set_by AS setBy, ciphertext IS NOT NULL AS isThere
               FROM secret`;
  const rows = await sqlite.query<SecretInfo & { isThere: number }>(sql);
  return new Map(rows.map((row) => [keyOf(row.project, row.name), { ...row, isThere: row.isThere === 1 }]));
}

async function usedKeys(sqlite: Sqlite): Promise<string[]> {
  const rows = await sqlite.query<{ id: string }>("SELECT DISTINCT key_id AS id FROM secret WHERE ciphertext NOT NULL");
  return rows.map(({ id }) => id);
}

/** Some at a time, each write a step that holds by itself: ended half-way, both keys are in the file. */
async function moveToCurrentKey(sqlite: Sqlite, keys: SecretKeys): Promise<number> {
  const { id, bytes } = keys.current();
  const sql = `SELECT project, name, generation, key_id, ciphertext FROM secret
               WHERE key_id <> ? AND ciphertext NOT NULL LIMIT ?`;
  let moved = 0;
  for (;;) {
    const rows = await sqlite.query<Row & { ciphertext: Uint8Array }>(sql, [id, limits.secretsRotated]);
    if (rows.length === 0) break;
    const writes = rows.map((row) => {
      const value = decryptValue(keys.find(row.key_id), row, row.ciphertext);
      const ciphertext = encryptValue({ id, bytes }, row, value);
      const update = "UPDATE secret SET key_id = ?, ciphertext = ? WHERE project = ? AND name = ? AND generation = ?";
      return { sql: update, params: [id, ciphertext, row.project, row.name, row.generation] };
    });
    await sqlite.write(writes);
    moved += rows.length;
  }
  keys.forgetOld();
  return moved;
}

/** As the log knows it: one whose value did not reach the disk has had its number. */
async function lastGeneration(store: EventStore, { project, name }: SecretName): Promise<number> {
  const { commits } = await store.read(streamOf(project));
  const kinds = commits.flatMap(({ commit }) => commit.events.map(({ kind }) => kind));
  return kinds.reduce((last, kind) => {
    if (kind.case !== "secretSet" || kind.value.secret !== name) return last;
    return Math.max(last, kind.value.generation);
  }, 0);
}

function requireFitting({ project, name }: SecretName, value: Uint8Array, others: number): void {
  const wrong = [project, name].find((each) => !namePattern.test(each));
  if (wrong !== undefined) {
    const right = "1 to 63 of a-z, 0-9, _ and -, beginning with a letter or a digit";
    throw new MillraceError("invalid_argument", `"${wrong}" is no name of a project or a secret: it has ${right}`);
  }
  const { byteLength } = value;
  if (byteLength === 0)
    throw new MillraceError("invalid_argument", `the secret ${name} was sent no value: it is empty`);
  if (byteLength > limits.secretBytes) {
    const message = `the value of the secret ${name} has ${byteLength} bytes, and ${limits.secretBytes} is the most`;
    throw new MillraceError("invalid_argument", message);
  }
  if (others >= limits.projectSecrets) {
    const message = `the project ${project} has ${others} secrets, and ${limits.projectSecrets} is the most`;
    throw new MillraceError("resource_exhausted", message);
  }
}

function list(known: ReadonlyMap<string, Known>, project: string): SecretInfo[] {
  const found = [...known.values()].filter((info) => info.project === project && info.isThere);
  return found
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, generation, setMs, setBy }) => {
      return { project, name, generation, setMs, setBy };
    });
}

function streamOf(project: string): string {
  return `secrets/${project}`;
}

function keyOf(project: string, name: string): string {
  return `${project}/${name}`;
}
