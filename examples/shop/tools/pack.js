// Packs dist/ as out/<name>-<version>.tar after checking it against its manifest. Owner, mode and time of every file are
// fixed, so that the same dist/ gives the same archive.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";

const blockBytes = 512;
const root = new URL("../", import.meta.url);
const dist = new URL("dist/", root);
const { name, version, files } = JSON.parse(readFileSync(new URL("manifest.json", dist), "utf8"));
for (const { path, sha256 } of files) {
  const actual = createHash("sha256")
    .update(readFileSync(new URL(path, dist)))
    .digest("hex");
  if (actual !== sha256) throw new Error(`dist/${path} is not the file that was built: run the build again`);
}

const folder = `${name}-${version}`;
const entries = readdirSync(dist)
  .sort()
  .flatMap((path) => tarEntry(`${folder}/${path}`, readFileSync(new URL(path, dist))));
const archive = Buffer.concat([...entries, Buffer.alloc(2 * blockBytes)]);
mkdirSync(new URL("out/", root), { recursive: true });
writeFileSync(new URL(`out/${folder}.tar`, root), archive);
console.log(
  `packed ${folder}.tar: ${archive.length} bytes, sha256 ${createHash("sha256").update(archive).digest("hex")}`,
);

/** A file in the POSIX ustar format: a header block, then the data filled up to whole blocks. */
function tarEntry(path, data) {
  if (Buffer.byteLength(path) > 100) throw new Error(`${path} is too long a name for this archive`);
  const header = Buffer.alloc(blockBytes);
  const octal = (value, length) => `${value.toString(8).padStart(length - 1, "0")}\0`;
  header.write(path, 0);
  header.write(octal(0o644, 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  header.write(octal(data.length, 12), 124);
  header.write(octal(0, 12), 136);
  header.write(" ".repeat(8), 148);
  header.write("0", 156);
  header.write("ustar\x0000", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return [header, data, Buffer.alloc((blockBytes - (data.length % blockBytes)) % blockBytes)];
}
