import { X509Certificate } from "node:crypto";
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { limits } from "../../../../shared/limits.ts";
import { openAuthority } from "../../../../shared/tls/authority.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const names = ["farm.example.org", "10.0.0.5", "localhost", "127.0.0.1", "::1", "2001:db8::5", "::ffff:192.0.2.7"];
const nowMs = Date.now();

test("a first start makes a CA for ten years and a certificate for every name, which the CA signed", async () => {
  const { certPem, authority } = await openAuthority({ folder: tempDir(), names, nowMs });
  const [leaf, ca] = [new X509Certificate(certPem), new X509Certificate(authority.caPem)];
  expect(leaf.checkIssued(ca) && leaf.verify(ca.publicKey)).toBe(true);
  expect([ca.ca, leaf.ca]).toEqual([true, false]);
  expect(leaf.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]); // serverAuth
  for (const name of names) expect(isIP(name) === 0 ? leaf.checkHost(name) : leaf.checkIP(name), name).toBeDefined();
  expect(leaf.checkHost("other.example.org")).toBeUndefined();
  const seconds = (timeMs: number) => Math.floor(timeMs / 1_000) * 1_000;
  expect(ca.validToDate.getTime()).toBe(seconds(nowMs + limits.tlsAuthorityMs));
  expect(leaf.validToDate.getTime()).toBe(seconds(nowMs + limits.tlsServerMs));
  expect(certPem.endsWith(authority.caPem)).toBe(true);
});

test("keys and certificates are for their owner alone, and nothing else is left", async () => {
  const folder = join(tempDir(), "tls");
  await openAuthority({ folder, names, nowMs });
  expect(readdirSync(folder).sort()).toEqual(["ca.key", "ca.pem", "server.key", "server.pem"]);
  for (const file of readdirSync(folder)) expect(statSync(join(folder, file)).mode & 0o777, file).toBe(0o600);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
});

test("a second start with the same names changes nothing", async () => {
  const folder = tempDir();
  const first = await openAuthority({ folder, names, nowMs });
  expect(await openAuthority({ folder, names, nowMs: nowMs + 60_000 })).toEqual(first);
});

test("other names, or little time left, give a new certificate with the old CA and the old pin", async () => {
  const folder = tempDir();
  const first = await openAuthority({ folder, names, nowMs });
  const renamed = await openAuthority({ folder, names: [...names, "192.0.2.8"], nowMs });
  const lateMs = nowMs + limits.tlsServerMs - limits.tlsServerLeastMs + 1_000;
  const renewed = await openAuthority({ folder, names: [...names, "192.0.2.8"], nowMs: lateMs });
  expect(new X509Certificate(renamed.certPem).checkIP("192.0.2.8")).toBe("192.0.2.8");
  expect(new Set([first, renamed, renewed].map(({ certPem }) => certPem)).size).toBe(3);
  expect(new Set([first, renamed, renewed].map(({ pin }) => pin)).size).toBe(1);
  expect(new Set([first, renamed, renewed].map(({ authority }) => authority.fingerprint)).size).toBe(1);
});

test("no certificate outlives its CA, and a CA at its end is refused with what to do", async () => {
  const folder = tempDir();
  const { authority } = await openAuthority({ folder, names, nowMs });
  const ca = new X509Certificate(authority.caPem);
  const late = await openAuthority({ folder, names, nowMs: nowMs + limits.tlsAuthorityMs - limits.tlsServerMs / 2 });
  expect(new X509Certificate(late.certPem).validTo).toBe(ca.validTo);
  const tooLate = openAuthority({ folder, names, nowMs: nowMs + limits.tlsAuthorityMs });
  await expect(tooLate).rejects.toThrow(/ca\.pem ends on .*; bring both back from a backup, or delete/);
});

test.each(["ca.key", "ca.pem", "server.key"])(
  "a damaged %s is named with what to do, and stays as it is",
  async (name) => {
    const folder = tempDir();
    await openAuthority({ folder, names, nowMs });
    const damaged = readFileSync(join(folder, name), "utf8").slice(0, 60);
    writeFileSync(join(folder, name), damaged);
    const opening = openAuthority({ folder, names, nowMs });
    await expect(opening).rejects.toMatchObject({
      code: "data_loss",
      message: expect.stringMatching(new RegExp(`${name} is damaged: .*(delete|backup)`)),
    });
    expect(readFileSync(join(folder, name), "utf8")).toBe(damaged);
  },
);

test("a key of another CA, or none, is refused", async () => {
  const [folder, other] = [tempDir(), tempDir()];
  await openAuthority({ folder, names, nowMs });
  await openAuthority({ folder: other, names, nowMs });
  writeFileSync(join(folder, "ca.key"), readFileSync(join(other, "ca.key")));
  await expect(openAuthority({ folder, names, nowMs })).rejects.toThrow(/ca\.key is not the key of .*ca\.pem/);
  rmSync(join(folder, "ca.key"));
  await expect(openAuthority({ folder, names, nowMs })).rejects.toThrow(/ca\.key is missing/);
});

test("a damaged certificate of the server, which anybody may lose, is made anew", async () => {
  const folder = tempDir();
  const first = await openAuthority({ folder, names, nowMs });
  writeFileSync(join(folder, "server.pem"), "not PEM");
  const again = await openAuthority({ folder, names, nowMs });
  expect(new X509Certificate(again.certPem).verify(new X509Certificate(first.authority.caPem).publicKey)).toBe(true);
});

test("a key that others can read is refused", async () => {
  const folder = tempDir();
  await openAuthority({ folder, names, nowMs });
  writeFileSync(join(folder, "ca.key.copy"), readFileSync(join(folder, "ca.key")), { mode: 0o644 });
  rmSync(join(folder, "ca.key"));
  writeFileSync(join(folder, "ca.key"), readFileSync(join(folder, "ca.key.copy")), { mode: 0o644 });
  await expect(openAuthority({ folder, names, nowMs })).rejects.toThrow(/ca\.key can be read by others: chmod 600/);
});

test("a first start that was cut off after the key of the CA goes on from there", async () => {
  const folder = tempDir();
  await openAuthority({ folder, names, nowMs });
  for (const name of ["ca.pem", "server.key", "server.pem"]) rmSync(join(folder, name));
  const key = readFileSync(join(folder, "ca.key"), "utf8");
  const { authority } = await openAuthority({ folder, names, nowMs });
  expect(new X509Certificate(authority.caPem).ca).toBe(true);
  expect(readFileSync(join(folder, "ca.key"), "utf8")).toBe(key);
});
