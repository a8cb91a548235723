import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { openStoredSecrets } from "../../../coordinator/delivery/secret/stored-secrets.ts";
import { coordinatorSchema } from "../../../coordinator/schema.ts";
import { sqliteEventStore } from "../../../coordinator/store/sqlite-event-store.ts";
import type { ErrorCode } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { openSqlite } from "../../../shared/sqlite/open.ts";
import type { Sqlite } from "../../../shared/sqlite/sqlite.ts";
import { failure } from "../../support/codes.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { tempDir } from "../../support/temp-dir.ts";

const token = { project: "shop", name: "npm-token" };
const value = Buffer.from("npm_Zq7-never-on-disk");

async function openSecrets(data = tempDir(), { forget = false, failing = false } = {}) {
  const sqlite = await openSqlite({ path: join(data, "coordinator.db"), schema: coordinatorSchema, onError: () => {} });
  onTestFinished(() => sqlite.close());
  const store = sqliteEventStore({ sqlite });
  const keyFile = join(data, "secret.key");
  const used: Sqlite = failing ? failingAtUpdates(sqlite) : sqlite;
  const secrets = await openStoredSecrets({ sqlite: used, store, keyFile, forget, clock: fakeClock() });
  const valueOf = async (name: string, project = "shop") => {
    const read = (await secrets.read(project, [name])).get(name);
    return read === undefined ? undefined : Buffer.from(read).toString();
  };
  const events = async () =>
    (await store.read("secrets/shop")).commits.flatMap(({ commit }) => commit.events.map(({ kind }) => kind));
  return { data, sqlite, secrets, valueOf, events, keyFile, close: () => sqlite.close() };
}

/** The disk takes the first batch of a rotation and then no more, as when the process ends there. */
function failingAtUpdates(sqlite: Sqlite): Sqlite {
  return {
    ...sqlite,
    write: async (statements) => {
      if (statements.some(({ sql }) => sql.startsWith("UPDATE secret SET key_id"))) {
        await sqlite.write(statements.slice(0, 1));
        throw new Error("the power went");
      }
      return await sqlite.write(statements);
    },
  };
}

describe("a secret", () => {
  test("has a value that comes back as it was, and a generation that grows with each", async () => {
    const { secrets, valueOf, events } = await openSecrets();
    const told: string[] = [];
    secrets.subscribe((project, name) => told.push(`${project}/${name}`));
    expect(secrets.missing("shop", ["npm-token"])).toEqual(["npm-token"]);
    expect(await secrets.set(token, value, "token:anna")).toMatchObject({
      ...token,
      generation: 1,
      setBy: "token:anna",
    });
    expect(await secrets.set(token, Buffer.from("second"), "token:ben")).toMatchObject({ generation: 2 });
    expect(await valueOf("npm-token")).toBe("second");
    expect(await valueOf("npm-token", "default")).toBeUndefined();
    expect(secrets.list("shop")).toMatchObject([{ name: "npm-token", generation: 2, setBy: "token:ben" }]);
    await secrets.remove(token, "token:anna");
    expect([secrets.list("shop"), await valueOf("npm-token")]).toEqual([[], undefined]);
    expect(secrets.missing("shop", ["npm-token"])).toEqual(["npm-token"]);
    expect(await secrets.set(token, value, "token:anna")).toMatchObject({ generation: 3 });
    expect(told).toEqual(["shop/npm-token", "shop/npm-token", "shop/npm-token"]);
    expect((await events()).map((kind) => kind.case)).toEqual(["secretSet", "secretSet", "secretRemoved", "secretSet"]);
  });

  test("is in no file in clear, and neither is the event's value", async () => {
    const { data, secrets, close } = await openSecrets();
    await secrets.set(token, value, "token:anna");
    await close();
    for (const file of ["coordinator.db", "secret.key"]) {
      expect(readFileSync(join(data, file)).includes(value)).toBe(false);
    }
    expect(statSync(join(data, "secret.key")).mode & 0o777).toBe(0o600);
  });

  test("cannot stand in for another one", async () => {
    const { sqlite, secrets } = await openSecrets();
    await secrets.set(token, value, "token:anna");
    await secrets.set({ project: "shop", name: "other" }, Buffer.from("other-value"), "token:anna");
    const sql =
      "UPDATE secret SET ciphertext = (SELECT ciphertext FROM secret WHERE name = 'other') WHERE name = 'npm-token'";
    await sqlite.write([{ sql }]);
    const { message } = await failure("data_loss", () => secrets.read("shop", ["npm-token"]));
    expect(message).toContain("npm-token of shop");
    await sqlite.write([{ sql: "UPDATE secret SET generation = 9 WHERE name = 'other'" }]);
    await failure("data_loss", () => secrets.read("shop", ["other"]));
  });

  test.each<[string, typeof token, Buffer, ErrorCode]>([
    ["no name", { project: "shop", name: "NPM" }, value, "invalid_argument"],
    ["a project that is none", { project: "../shop", name: "x" }, value, "invalid_argument"],
    ["no value", token, Buffer.alloc(0), "invalid_argument"],
    ["too long a value", token, Buffer.alloc(limits.secretBytes + 1), "invalid_argument"],
  ])("with %s is refused, and nothing is recorded", async (_what, name, bytes, code) => {
    const { secrets, events } = await openSecrets();
    await failure(code, () => secrets.set(name, bytes, "token:anna"));
    expect(await events()).toEqual([]);
  });

  test("that is not there cannot be removed", async () => {
    const { secrets } = await openSecrets();
    await failure("not_found", () => secrets.remove(token, "token:anna"));
  });
});

describe("the key of the secrets", () => {
  test("is wanted where there are secrets, and none is made in its place", async () => {
    const first = await openSecrets();
    await first.secrets.set(token, value, "token:anna");
    const text = readFileSync(first.keyFile, "utf8");
    await first.close();
    rmSync(first.keyFile);
    const gone = await failure("failed_precondition", () => openSecrets(first.data));
    for (const word of ["secret.key is not there", "--secret-key-file", "--forget-secrets"])
      expect(gone.message).toContain(word);
    const other = await openSecrets();
    writeFileSync(first.keyFile, readFileSync(other.keyFile));
    const wrong = await failure("failed_precondition", () => openSecrets(first.data));
    expect(wrong.message).toMatch(/under the key [0-9a-f]{16}, .* holds [0-9a-f]{16} instead/);
    writeFileSync(first.keyFile, '{"keys":["00"]}');
    await failure("data_loss", () => openSecrets(first.data));
    writeFileSync(first.keyFile, text);
    expect(await (await openSecrets(first.data)).valueOf("npm-token")).toBe(value.toString());
  });

  test("that is lost for good costs the secrets, when somebody says so", async () => {
    const first = await openSecrets();
    await first.secrets.set(token, value, "token:anna");
    await first.close();
    rmSync(first.keyFile);
    const { secrets, events } = await openSecrets(first.data, { forget: true });
    expect(secrets.list("shop")).toEqual([]);
    expect((await events()).at(-1)?.case).toBe("secretRemoved");
    expect(await secrets.set(token, value, "token:anna")).toMatchObject({ generation: 2 });
  });

  test("is rotated: every value is under the new one, and the one before opens nothing", async () => {
    const { data, secrets, valueOf, keyFile, close } = await openSecrets();
    const names = Array.from({ length: limits.secretsRotated + 3 }, (_, index) => `secret-${index}`);
    for (const name of names)
      await secrets.set({ project: "shop", name }, Buffer.from(`value of ${name}`), "token:anna");
    const before = readFileSync(keyFile, "utf8");
    expect(await secrets.rotateKey()).toMatchObject({ secrets: names.length });
    expect(readFileSync(keyFile, "utf8")).not.toContain(before.slice(10, 40));
    expect(await valueOf("secret-7")).toBe("value of secret-7");
    await close();
    const again = await openSecrets(data);
    expect(await again.valueOf("secret-101")).toBe("value of secret-101");
    await again.close();
    writeFileSync(keyFile, before);
    await failure("failed_precondition", () => openSecrets(data));
  });

  test("that was being rotated when the process ended is rotated by the next start", async () => {
    const first = await openSecrets();
    for (const name of ["one", "two", "three"]) {
      await first.secrets.set({ project: "shop", name }, Buffer.from(`value of ${name}`), "token:anna");
    }
    await first.close();
    const cut = await openSecrets(first.data, { failing: true });
    await failure("unknown", () => cut.secrets.rotateKey());
    const keysOf = () => (JSON.parse(readFileSync(first.keyFile, "utf8")) as { keys: string[] }).keys;
    const usedKeys = "SELECT DISTINCT key_id FROM secret";
    expect([keysOf().length, (await cut.sqlite.query(usedKeys)).length]).toEqual([2, 2]);
    for (const name of ["one", "two", "three"]) expect(await cut.valueOf(name)).toBe(`value of ${name}`);
    await cut.close();
    const next = await openSecrets(first.data);
    expect([keysOf().length, (await next.sqlite.query(usedKeys)).length]).toEqual([1, 1]);
    for (const name of ["one", "two", "three"]) expect(await next.valueOf(name)).toBe(`value of ${name}`);
  });
});
