import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { keptFingerprint, obtainTrust } from "../../../../shared/tls/obtain-trust.ts";
import { tempDir } from "../../../support/temp-dir.ts";
import { httpsServer, testAuthority } from "../../../support/tls-farm.ts";

async function setup() {
  const { certPem, keyPem, authority } = await testAuthority();
  const address = `127.0.0.1:${await httpsServer({ certPem, keyPem })}`;
  return { authority, address, keptFile: join(tempDir(), "kept", "farm-ca.pem"), tlsCa: undefined };
}

test("neither a fingerprint nor --tls-ca is plain, and nobody is asked", async () => {
  const { keptFile } = await setup();
  const plain = { address: "127.0.0.1:1", fingerprint: undefined, tlsCa: undefined, keptFile };
  expect(await obtainTrust(plain)).toBeUndefined();
});

test("the CA of a fingerprint is fetched once, kept for its owner alone, and then nobody is asked", async () => {
  const { authority, ...rest } = await setup();
  const { fingerprint, caPem } = authority;
  expect(await obtainTrust({ ...rest, fingerprint })).toEqual({ caPem, checksName: false });
  expect(readFileSync(rest.keptFile, "utf8")).toBe(caPem);
  expect(statSync(rest.keptFile).mode & 0o777).toBe(0o600);
  const away = { ...rest, fingerprint, address: "127.0.0.1:1" };
  expect(await obtainTrust(away)).toEqual({ caPem, checksName: false });
});

test.each(["", "not PEM"])("a kept CA that is damaged is fetched again: %j", async (damaged) => {
  const { authority, ...rest } = await setup();
  const { fingerprint, caPem } = authority;
  await obtainTrust({ ...rest, fingerprint });
  writeFileSync(rest.keptFile, damaged);
  expect(await obtainTrust({ ...rest, fingerprint })).toEqual({ caPem, checksName: false });
});

test("a kept CA of another farm is not taken for the one that the token names", async () => {
  const { authority, ...rest } = await setup();
  const other = await testAuthority();
  await obtainTrust({ ...rest, fingerprint: authority.fingerprint });
  const asking = obtainTrust({ ...rest, fingerprint: other.authority.fingerprint });
  await expect(asking).rejects.toThrow(/is not the farm that the token is for/);
});

test("who has no token any more goes on with the farm whose CA is kept, and never in plain because it is damaged", async () => {
  const { authority, ...rest } = await setup();
  expect(keptFingerprint(rest.keptFile)).toBeUndefined();
  await obtainTrust({ ...rest, fingerprint: authority.fingerprint });
  expect(keptFingerprint(rest.keptFile)).toBe(authority.fingerprint);
  writeFileSync(rest.keptFile, "");
  expect(() => keptFingerprint(rest.keptFile)).toThrow(/farm-ca\.pem, the CA of the farm, .*start once with a token/);
});

test("--tls-ca checks names: by a file, or by the machine; a file without certificates is named", async () => {
  const { authority, keptFile, address } = await setup();
  const ask = (tlsCa: string) => obtainTrust({ address, fingerprint: undefined, tlsCa, keptFile });
  expect(await ask(authority.caFile)).toEqual({ caPem: authority.caPem, checksName: true });
  expect(await ask("system")).toEqual({ caPem: undefined, checksName: true });
  await expect(ask("/nowhere")).rejects.toThrow(/--tls-ca \/nowhere/);
});
