// Builds the product as one self-contained executable: the pinned Node with our program inside it, after
// https://nodejs.org/api/single-executable-applications.html. What was built from the same source before is taken again.
//
//   node deploy/build-single-file.ts [--out FILE] [--version V]
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { assetNames } from "../shared/single-file.ts";
import { version as ownVersion } from "../shared/version.ts";
import { digestOfSources, root } from "./sources.ts";

const platform = `${process.platform}-${process.arch}`;
/** Of results that are kept to be taken again; each has 130 MB. */
const keptBuilds = 4;
/** Node looks for it in its own executable; see the manual above. */
const fuse = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2";

const { values } = parseArgs({ options: { out: { type: "string" }, version: { type: "string" } } });
const version = values.version ?? ownVersion;
const out = resolve(values.out ?? join(root, "dist", `millrace-${version}-${platform}`));
const cache = join(root, "node_modules/.cache/millrace-single-file");

mkdirSync(cache, { recursive: true });
const work = mkdtempSync(join(cache, "work-"));
try {
  const kept = join(cache, digestOfSources(version));
  if (!existsSync(kept)) {
    inject(work, await bundle(work));
    renameSync(join(work, "executable"), kept);
  }
  const now = new Date();
  utimesSync(kept, now, now);
  place(kept);
} finally {
  rmSync(work, { recursive: true, force: true });
  forgetOldBuilds();
}

/** Writes the parts into a folder; gives their files by name. `main` is where Node begins. */
async function bundle(folder: string): Promise<Record<string, string>> {
  const file = (name: string) => join(folder, name);
  const script = (entry: string, name: string) => ({ entryPoints: [join(root, entry)], outfile: file(name) });
  const common = {
    bundle: true,
    platform: "node",
    target: "node24",
    legalComments: "none",
    logLevel: "warning",
    define: { MILLRACE_VERSION: JSON.stringify(version) },
    // Asked only where this is no single file; see shared/single-file.ts.
    logOverride: { "empty-import-meta": "silent" },
  } as const;
  const requiring = 'require = require("node:module").createRequire(process.execPath);';
  await Promise.all([
    build({ ...common, ...script("bin/single-file.ts", "main"), format: "cjs" }),
    build({
      ...common,
      ...script("bin/program.ts", assetNames.program),
      format: "cjs",
      minify: true,
      keepNames: true, // messages and class checks go by names
      banner: { js: "(require, __dirname, __filename) => {" },
      footer: { js: "}" },
    }),
    build({
      ...common,
      ...script("shared/sqlite/worker.ts", assetNames.sqliteWorker),
      format: "cjs",
      banner: { js: requiring },
    }),
    build({ ...common, ...script("agent/runner/runner-process.mjs", assetNames.runner), format: "esm" }),
  ]);
  compile(file(assetNames.program), file(assetNames.programCode));
  copyFileSync(join(root, `node_modules/better-sqlite3/prebuilds/${platform}.node`), file(assetNames.sqliteAddon));
  copyFileSync(join(root, "deploy/install.sh"), file(assetNames.installer));
  return Object.fromEntries(["main", ...Object.values(assetNames)].map((name) => [name, file(name)]));
}

/** In a process of its own: the code is only good for a V8 with the flags that the executable will have. */
function compile(source: string, target: string): void {
  const program = `
    const { readFileSync, writeFileSync } = require("node:fs");
    const [source, target, filename] = process.argv.slice(1);
    const script = new (require("node:vm").Script)(readFileSync(source, "utf8"), { filename });
    writeFileSync(target, script.createCachedData());
  `;
  execFileSync(process.execPath, ["-e", program, source, target, assetNames.program]);
}

function inject(folder: string, { main, ...assets }: Record<string, string>): void {
  const config = {
    main,
    output: join(folder, "blob"),
    disableExperimentalSEAWarning: true,
    execArgv: ["--disable-warning=ExperimentalWarning"],
    // Node's settings come from us alone: NODE_OPTIONS is for other people's programs.
    execArgvExtension: "cli",
    assets,
  };
  writeFileSync(join(folder, "sea.json"), JSON.stringify(config));
  execFileSync(process.execPath, ["--experimental-sea-config", join(folder, "sea.json")], { stdio: "pipe" });
  const executable = join(folder, "executable");
  cpSync(realpathSync(process.execPath), executable);
  const postject = fileURLToPath(import.meta.resolve("postject/dist/cli.js"));
  const args = [executable, "NODE_SEA_BLOB", join(folder, "blob"), "--sentinel-fuse", fuse];
  execFileSync(process.execPath, [postject, ...args], { stdio: "pipe" });
}

/** The file and its checksum, in the form that `sha256sum -c` reads. */
function place(kept: string): void {
  mkdirSync(dirname(out), { recursive: true });
  rmSync(out, { force: true }); // one that runs cannot be written to
  copyFileSync(kept, out);
  const name = out.slice(out.lastIndexOf("/") + 1);
  writeFileSync(`${out}.sha256`, `${createHash("sha256").update(readFileSync(out)).digest("hex")}  ${name}\n`);
  process.stdout.write(`${out}\n`);
}

function forgetOldBuilds(): void {
  const builds = readdirSync(cache)
    .filter((name) => /^[0-9a-f]{64}$/.test(name))
    .map((name) => ({ file: join(cache, name), usedMs: statSync(join(cache, name)).mtimeMs }))
    .sort((a, b) => b.usedMs - a.usedMs);
  for (const { file } of builds.slice(keptBuilds)) rmSync(file, { force: true });
}
