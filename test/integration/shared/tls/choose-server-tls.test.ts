import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { chooseServerTls, type ServerTlsSettings } from "../../../../shared/tls/choose-server-tls.ts";
import { tempDir } from "../../../support/temp-dir.ts";
import { testAuthority } from "../../../support/tls-farm.ts";

const unsaid = { host: "127.0.0.1", advertise: undefined, insecure: false, tlsCert: undefined, tlsKey: undefined };

function choose(said: Partial<ServerTlsSettings>) {
  const folder = join(tempDir(), "tls");
  return { folder, chosen: chooseServerTls({ ...unsaid, folder, ...said }) };
}

test.each([{ host: "127.0.0.1" }, { host: "::1" }, { host: "localhost" }, { host: "0.0.0.0", insecure: true }])(
  "%j is plain, and no CA is made",
  async (said) => {
    const { folder, chosen } = choose(said);
    expect(await chosen).toBeUndefined();
    expect(existsSync(folder)).toBe(false);
  },
);

test("beyond loopback a farm has a CA of its own, for what was advertised and every address of the machine", async () => {
  const { chosen } = choose({ host: "0.0.0.0", advertise: "farm.example.org" });
  const tls = await chosen;
  expect(tls?.authority?.fingerprint).toMatch(/^[\w-]{43}$/);
  const certificate = new X509Certificate(tls?.certPem ?? "");
  expect(certificate.checkHost("farm.example.org")).toBeDefined();
  expect(certificate.checkHost("localhost")).toBeDefined();
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  for (const { address } of addresses.filter(({ address }) => !address.startsWith("fe80:"))) {
    expect(certificate.checkIP(address), address).toBeDefined();
  }
  expect(certificate.subjectAltName).not.toContain("0.0.0.0");
});

test("a certificate of the operator's is taken as it is, and tokens have no fingerprint", async () => {
  const { certFile, keyFile, certPem, keyPem, pin } = await testAuthority();
  const { folder, chosen } = choose({ host: "0.0.0.0", tlsCert: certFile, tlsKey: keyFile });
  expect(await chosen).toEqual({ certPem, keyPem, certFile, keyFile, pin, authority: undefined });
  expect(existsSync(folder)).toBe(false);
});

test("what does not belong together is refused, by the names of flags and files", async () => {
  const [one, other] = [await testAuthority(), await testAuthority()];
  const refusals: readonly [Partial<ServerTlsSettings>, RegExp][] = [
    [{ tlsCert: one.certFile }, /--tls-cert and --tls-key belong together/],
    [{ tlsKey: one.keyFile }, /--tls-cert and --tls-key belong together/],
    [{ tlsCert: one.certFile, tlsKey: one.keyFile, insecure: true }, /--insecure and --tls-cert contradict/],
    [{ tlsCert: one.certFile, tlsKey: other.keyFile }, /is not the key of --tls-cert/],
    [{ tlsCert: one.keyFile, tlsKey: one.keyFile }, /--tls-cert .* is no certificate/],
    [{ tlsCert: one.certFile, tlsKey: one.certFile }, /--tls-key .* is no private key/],
    [{ tlsCert: "/nowhere", tlsKey: one.keyFile }, /--tls-cert \/nowhere/],
  ];
  for (const [said, problem] of refusals) {
    await expect(choose(said).chosen, String(problem)).rejects.toMatchObject({
      code: "invalid_argument",
      message: expect.stringMatching(problem),
    });
  }
});
