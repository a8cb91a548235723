// Builds the package into a folder: JavaScript, in few files, with the libraries that it uses inside. Node needs half a
// second to find and read the 500 files of a checkout, and half of that for these.
//
//   node deploy/build-package.ts FOLDER
import { chmodSync, cpSync, globSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, parse, resolve } from "node:path";
import { build, type Metafile } from "esbuild";
import { ownEntries } from "../shared/own-files.ts";
import { root } from "./sources.ts";

/** What we read of a package.json; npm has checked it. */
type Manifest = Record<"name" | "version" | "license" | "description" | "type", string> &
  Record<"bin" | "allowScripts", unknown> &
  Record<"dependencies" | "devDependencies", Readonly<Record<string, string>>>;

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error("say the folder: node deploy/build-package.ts FOLDER");
const out = resolve(folder);
const manifest = readManifest(root);
/** Not put inside: one has native code, and the other is the Node to run on, since the machine's may be older. */
const beside = { "better-sqlite3": versionOf("better-sqlite3"), node: versionOf("node") };

const { main, sqliteWorker, runner } = ownEntries;
const built = await Promise.all([bundle([main, sqliteWorker]), bundle([runner])]);
writeFileSync(join(out, "THIRD-PARTY-LICENSES.txt"), licenses(built));
for (const file of [
  "bin/millrace",
  "deploy/install.sh",
  "LICENSE",
  "README.md",
  ...globSync("proto/**/*.{proto,binpb}", { cwd: root }),
]) {
  mkdirSync(join(out, dirname(file)), { recursive: true });
  cpSync(join(root, file), join(out, file));
}
chmodSync(join(out, "bin/millrace"), 0o755);
const { name, version, description, license, type, bin, allowScripts } = manifest;
const own: Omit<Manifest, "devDependencies"> = {
  ...{ name, version, description, license, type, bin, allowScripts },
  dependencies: beside,
};
writeFileSync(join(out, "package.json"), `${JSON.stringify(own, null, 2)}\n`);

function versionOf(library: string): string {
  const version = manifest.dependencies[library] ?? manifest.devDependencies[library];
  if (version === undefined) throw new Error(`package.json names no ${library}`);
  return version;
}

/** Parts that share what they have in common; a part of its own loads nothing that it does not need. */
async function bundle(entries: readonly (typeof ownEntries)[keyof typeof ownEntries][]): Promise<Metafile> {
  const { metafile } = await build({
    entryPoints: entries.map(({ source, packaged }) => ({ in: join(root, source), out: withoutExtension(packaged) })),
    outdir: out,
    chunkNames: "lib/[name]-[hash]",
    absWorkingDir: root,
    ...{ bundle: true, splitting: true, format: "esm", platform: "node", target: "node24", metafile: true },
    ...{ external: Object.keys(beside), legalComments: "none", logLevel: "warning" },
    // Libraries that are CommonJS ask for Node's modules by `require`.
    banner: {
      js: 'import { createRequire as requireFrom } from "node:module";\nconst require = requireFrom(import.meta.url);',
    },
  });
  return metafile;
}

function withoutExtension(path: string): string {
  return join(dirname(path), parse(path).name);
}

/** The terms of every library whose code is inside, as each of them demands. */
function licenses(built: readonly Metafile[]): string {
  const inputs = new Set(built.flatMap(({ inputs }) => Object.keys(inputs)));
  const byLibrary = Map.groupBy(inputs, (file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? "");
  byLibrary.delete(""); // what is ours
  return [...byLibrary]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([library, files]) => licenseOf(library, files))
    .join(`\n${"-".repeat(80)}\n\n`);
}

/** @param files those of the library that are inside */
function licenseOf(library: string, files: readonly string[]): string {
  const { name, version, license } = readManifest(join(root, library));
  const texts = readdirSync(join(root, library))
    .filter((file) => /^(licen[cs]e|copying|notice)/i.test(file))
    .sort()
    .map((file) => readFileSync(join(root, library, file), "utf8").trim());
  const terms = texts.length > 0 ? texts : headersOf(files);
  return [`${name} ${version} (${license})`, ...terms].join("\n\n") + "\n";
}

/** What stands above the code, each text once: some libraries say their terms there alone. */
function headersOf(files: readonly string[]): string[] {
  const headers = files.map((file) => /^(?:\/\/.*\n)+/.exec(readFileSync(join(root, file), "utf8"))?.[0] ?? "");
  const terms = new Set(headers.filter((header) => /copyright/i.test(header)));
  return [...terms].map((header) => header.replaceAll(/^\/\/ ?/gm, "").trim());
}

function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
}
