import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { issueAuthority, issueServerCertificate, newKey } from "../../../../shared/tls/certificates.ts";
import { runs } from "../../../support/property-runs.ts";

const nowMs = Date.UTC(2026, 0, 1);
const endMs = Date.UTC(2036, 0, 1);

test("a certificate is for each of its names and addresses, in whatever form they were given, and for no other", async () => {
  const keyPem = await newKey();
  const authority = { keyPem, certPem: await issueAuthority({ keyPem, nowMs, endMs }) };
  const ca = new X509Certificate(authority.certPem);
  const name = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(name, { minLength: 1, maxLength: 50 }), async (names) => {
      const issued = await issueServerCertificate({ authority, keyPem, names, nowMs, endMs });
      const certificate = new X509Certificate(issued);
      expect(certificate.checkIssued(ca) && certificate.verify(ca.publicKey)).toBe(true);
      const held = (one: string) => (isIP(one) === 0 ? certificate.checkHost(one) : certificate.checkIP(one));
      for (const one of names) expect(held(one), one).toBeDefined();
      expect(certificate.subjectAltName?.split(", ")).toHaveLength(names.length);
    }),
    { numRuns: runs(30) },
  );
});
