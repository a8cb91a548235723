// Copies src/ to dist/ and writes dist/manifest.json: version, and hash and size of every file. The same sources give the
// same bytes, so that whoever uses dist/ runs again only when something in it has changed.
import { createHash } from "node:crypto";
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";

const root = new URL("../", import.meta.url);
const dist = new URL("dist/", root);
rmSync(dist, { recursive: true, force: true });
cpSync(new URL("src/", root), dist, { recursive: true });

const files = readdirSync(dist)
  .sort()
  .map((path) => {
    const data = readFileSync(new URL(path, dist));
    return { path, sizeBytes: data.length, sha256: createHash("sha256").update(data).digest("hex") };
  });
const { name, version } = JSON.parse(readFileSync(new URL("package.json", root), "utf8"));
writeFileSync(new URL("manifest.json", dist), `${JSON.stringify({ name, version, files }, null, 2)}\n`);
writeFileSync(new URL("package.json", dist), `${JSON.stringify({ name, version, type: "module" }, null, 2)}\n`);
console.log(`built ${name} ${version}: ${files.length} files, ${files.reduce((sum, f) => sum + f.sizeBytes, 0)} bytes`);
