import { hash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeManifest, encodeManifest, type Manifest } from "../../../../coordinator/keeping/backup/manifest.ts";
import { failure } from "../../../support/codes.ts";

const hex = fc.stringMatching(/^[0-9a-f]{64}$/);
const manifests: fc.Arbitrary<Manifest> = fc.record({
  version: fc.string(),
  createdMs: fc.nat(),
  files: fc.array(
    fc.record({
      path: fc.stringMatching(/^[a-z "\\é]{1,8}$/).map((name) => `data/x${name}`),
      ...{ sizeBytes: fc.nat(), sha256: hex, mode: fc.constantFrom(0o600, 0o644) },
    }),
  ),
  lost: fc.array(fc.tuple(hex, fc.nat()).map(([hash, size]) => `${hash}/${size}` as const)),
});

test("a manifest is read back as it was written", () => {
  fc.assert(
    fc.property(manifests, (manifest) => {
      expect(decodeManifest(encodeManifest(manifest), "m")).toEqual(manifest);
    }),
  );
});

test("a manifest with any other byte, or any part of one, is refused", async () => {
  await fc.assert(
    fc.asyncProperty(manifests, fc.nat(), fc.boolean(), async (manifest, at, isCut) => {
      const text = encodeManifest(manifest);
      const place = at % (text.length - 1);
      const other = text[place] === "0" ? "1" : "0";
      const damaged = isCut ? text.slice(0, place) : `${text.slice(0, place)}${other}${text.slice(place + 1)}`;
      await failure("data_loss", () => decodeManifest(damaged, "m"));
    }),
  );
});

test.each(["data/../../etc/passwd", "/etc/passwd", "data//x", "other/x"])("the path %s is refused", async (path) => {
  const file = { path, sizeBytes: 0, sha256: "0".repeat(64), mode: 0o600 };
  const text = encodeManifest({ version: "1", createdMs: 0, files: [file], lost: [] });
  await failure("data_loss", () => decodeManifest(text, "m"));
});

test("a backup of a newer form is refused with the version that knows it", async () => {
  const text = encodeManifest({ version: "9.9.9", createdMs: 0, files: [], lost: [] });
  const lines = text.split("\n");
  const body = `${(lines[0] ?? "").replace('"millraceBackup":1', '"millraceBackup":2')}\n`;
  const newer = `${body}${JSON.stringify({ files: 0, sha256: hash("sha256", body) })}\n`;
  expect((await failure("failed_precondition", () => decodeManifest(newer, "m"))).message).toContain("9.9.9");
});
