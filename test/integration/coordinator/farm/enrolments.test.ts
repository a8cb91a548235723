import { expect, onTestFinished, test } from "vitest";
import type { NewAgent } from "../../../../coordinator/farm/agents/enrolments.ts";
import { enrolmentSchema, openEnrolments } from "../../../../coordinator/farm/agents/sqlite-enrolments.ts";
import { from, MillraceError } from "../../../../shared/errors.ts";
import { limits } from "../../../../shared/limits.ts";
import { secretHash } from "../../../../shared/rpc/secret.ts";
import { openSqlite } from "../../../../shared/sqlite/open.ts";
import type { Sqlite } from "../../../../shared/sqlite/sqlite.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { tempDir } from "../../../support/temp-dir.ts";

/** Enrolments on a disk that can be opened again, and that takes no more when the test says so. */
async function setup() {
  const path = `${tempDir()}/t.db`;
  const clock = fakeClock();
  const disk = { isFull: false };
  const open = async () => {
    const sqlite = await openSqlite({ path, schema: [enrolmentSchema] });
    onTestFinished(() => sqlite.close());
    const failing: Sqlite = {
      ...sqlite,
      write: async (statements) => {
        if (disk.isFull) throw new MillraceError("resource_exhausted", "no room");
        return sqlite.write(statements);
      },
    };
    return { ...(await openEnrolments({ sqlite: failing, clock })), sqlite };
  };
  return { clock, disk, open };
}

const agentOf = (id: string, keys = id): NewAgent => ({
  ...{ id, hostname: `host-of-${id}` },
  ...{ publicKey: `U${keys}`, secretSha256: secretHash(`secret of ${keys}`) },
});
const token = { pool: "linux", ttlMs: 60_000, ephemeral: false };
const codeOf = (call: Promise<unknown>) =>
  call.then(
    () => "ok",
    (error: unknown) => from(error).code,
  );

test("of twenty agents that race with one token, one is let in, and a restart knows which", async () => {
  const { open } = await setup();
  const before = await open();
  const { secret, token: made } = await before.enrolments.create({ ...token, name: "race" });
  expect(before.tokens.identify(secret)).toEqual({ kind: "token", name: "race" });
  const racing = Array.from({ length: 20 }, (_, index) => agentOf(`a${index}`));
  const codes = await Promise.all(
    racing.map((agent) => codeOf(before.enrolments.enrol(agent, { kind: "once", token: made.name }))),
  );
  expect(codes.filter((code) => code === "ok")).toHaveLength(1);
  expect(codes.filter((code) => code === "permission_denied")).toHaveLength(19);
  const [winner] = before.enrolments.list();
  expect(winner).toMatchObject({ pool: "linux", hostname: `host-of-${winner?.id}` });
  await before.sqlite.close();

  const after = await open();
  expect(after.enrolments.list()).toEqual([winner]);
  expect(after.tokens.list()).toMatchObject([{ name: "race", usedBy: winner?.id }]);
  expect(await codeOf(after.enrolments.enrol(agentOf("late"), { kind: "once", token: "race" }))).toBe(
    "permission_denied",
  );
  expect(after.tokens.identify(`secret of ${winner?.id}`)).toEqual({ kind: "agent", id: winner?.id });
  const rows = await after.sqlite.query("SELECT * FROM enrolment_token, enrolment");
  expect(JSON.stringify(rows)).not.toContain(secret);
});

test("an agent that is removed is known as such, and its keys let it in no more; its id is free", async () => {
  const { open } = await setup();
  const { enrolments, tokens, sqlite } = await open();
  const admission = async () => ({ kind: "once" as const, token: (await enrolments.create(token)).token.name });
  await enrolments.enrol(agentOf("a"), await admission());
  expect(await codeOf(enrolments.enrol(agentOf("a", "other"), await admission()))).toBe("already_exists");
  expect(await codeOf(enrolments.enrol(agentOf("b", "a"), await admission()))).toBe("already_exists");
  const revoked = enrolments.revoke("a");
  expect(tokens.identify("secret of a")).toMatchObject({ kind: "removed", id: "a" });
  await revoked;
  await enrolments.enrol(agentOf("a", "new"), await admission());
  await sqlite.close();
  const after = await open();
  expect(after.tokens.identify("secret of a")).toMatchObject({ kind: "removed", id: "a" });
  expect(after.tokens.identify("secret of new")).toEqual({ kind: "agent", id: "a" });
  expect(await codeOf(after.enrolments.revoke("b"))).toBe("not_found");
});

test("what the disk does not take has not happened", async () => {
  const { open, disk } = await setup();
  const { enrolments, tokens } = await open();
  await enrolments.enrol(agentOf("a"), { kind: "always", token: "agent", mayReplace: false });
  const { token: made } = await enrolments.create({ ...token, name: "t" });
  const replacing = { kind: "always", token: "agent", mayReplace: true } as const;
  disk.isFull = true;
  expect(await codeOf(enrolments.create({ ...token, name: "lost" }))).toBe("resource_exhausted");
  expect(await codeOf(enrolments.enrol(agentOf("b"), { kind: "once", token: made.name }))).toBe("resource_exhausted");
  expect(await codeOf(enrolments.enrol(agentOf("a", "other"), replacing))).toBe("resource_exhausted");
  disk.isFull = false;
  expect(enrolments.list().map(({ publicKey }) => publicKey)).toEqual(["Ua"]);
  expect(tokens.identify("secret of a")).toEqual({ kind: "agent", id: "a" });
  expect(tokens.identify("secret of other")).toBeUndefined();
  expect(tokens.list()).toMatchObject([{ name: "t", usedBy: undefined }]);
  expect(await codeOf(enrolments.enrol(agentOf("b"), { kind: "once", token: made.name }))).toBe("ok");
  expect(await codeOf(enrolments.enrol(agentOf("a", "other"), replacing))).toBe("ok");
});

test("the same keys that ask twice at a time are let in once", async () => {
  const { open } = await setup();
  const { enrolments } = await open();
  const { token: made } = await enrolments.create(token);
  const ask = () => enrolments.enrol(agentOf("a"), { kind: "once", token: made.name });
  const [one, other] = await Promise.all([ask(), ask()]);
  expect(one).toBe(other);
});

test("a token that was revoked lets nobody in; one that is long spent is forgotten", async () => {
  const { open, clock } = await setup();
  const { enrolments, tokens } = await open();
  const { secret, token: made } = await enrolments.create({ ...token, name: "t" });
  expect(await codeOf(enrolments.create({ ...token, name: "t" }))).toBe("already_exists");
  expect(await codeOf(enrolments.create({ ...token, pool: "a b" }))).toBe("invalid_argument");
  await tokens.revoke("t");
  expect(tokens.identify(secret)).toBeUndefined();
  expect(await codeOf(enrolments.enrol(agentOf("a"), { kind: "once", token: made.name }))).toBe("unauthenticated");
  expect(await codeOf(tokens.revoke("t"))).toBe("not_found");

  const old = await enrolments.create({ ...token, name: "old" });
  clock.advance(token.ttlMs + limits.spentTokensKeptMs);
  expect(await codeOf(enrolments.enrol(agentOf("a"), { kind: "once", token: "old" }))).toBe("unauthenticated");
  expect(tokens.identify(old.secret)).toBeDefined();
  clock.advance(1);
  await enrolments.create({ ...token, name: "new" });
  expect(tokens.list().map(({ name }) => name)).toEqual(["new"]);
  expect(tokens.identify(old.secret)).toBeUndefined();
});
