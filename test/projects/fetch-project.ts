import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";

// Real projects, by the ordinary clients of the places that have them.

/** Where a project comes from, and which one it is. */
export type Origin =
  | { readonly npm: string }
  | { readonly python: string }
  | { readonly debian: string }
  | { readonly go: string };

/** Brings the source of a project into the new folder `dir`, and gives the version that came. */
export function fetchProject(origin: Origin, dir: string): string {
  const work = mkdtempSync(`${dir}-fetch-`);
  try {
    if ("npm" in origin) return fromNpm(origin.npm, work, dir);
    if ("python" in origin) return fromPython(origin.python, work, dir);
    if ("go" in origin) return fromGo(origin.go, work, dir);
    return fromDebian(origin.debian, work, dir);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function run(file: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = {}): string {
  return execFileSync(file, args, {
    cwd,
    env: { ...process.env, ...env },
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
}

function unpack(archive: string, dir: string): void {
  mkdirSync(dir);
  run("tar", ["xf", archive, "--strip-components=1", "--no-same-owner", "-C", dir], dir);
}

function fromNpm(spec: string, work: string, dir: string): string {
  const file = run("npm", ["pack", "--silent", spec], work).trim();
  unpack(join(work, file), dir);
  return spec;
}

function fromPython(spec: string, work: string, dir: string): string {
  run("python3", ["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", spec], work);
  const [file] = globSync("*.tar.gz", { cwd: work });
  if (file === undefined) throw new Error(`no source of ${spec} came`);
  unpack(join(work, file), dir);
  return spec;
}

function fromGo(spec: string, work: string, dir: string): string {
  const said = run("go", ["mod", "download", "-json", "-modcacherw", spec], work, {
    GOMODCACHE: join(work, "modules"),
  });
  const { Dir } = JSON.parse(said) as { Dir: string };
  cpSync(Dir, dir, { recursive: true });
  return spec;
}

/** The machine's own archives, asked for sources in a state of its own: nothing of the machine's is changed. */
function fromDebian(name: string, work: string, dir: string): string {
  const parts = join(work, "sources");
  for (const folder of [parts, join(work, "lists/partial"), join(work, "archives/partial")])
    mkdirSync(folder, { recursive: true });
  const lists = ["/etc/apt/sources.list", ...globSync("/etc/apt/sources.list.d/*")].filter(existsSync);
  for (const list of lists) {
    const text = readFileSync(list, "utf8");
    if (!/debian|ubuntu/.test(text)) continue;
    const asked = text.replaceAll(/^Types:.*$/gm, "Types: deb-src").replaceAll(/^deb /gm, "deb-src ");
    writeFileSync(join(parts, basename(list)), asked);
  }
  const options = [
    "Dir::Etc::sourcelist=-",
    `Dir::Etc::sourceparts=${parts}`,
    `Dir::State::lists=${join(work, "lists")}`,
    `Dir::Cache=${work}`,
    "APT::Sandbox::User=root",
  ].flatMap((option) => ["-o", option]);
  run("apt-get", [...options, "-qq", "update"], work);
  run("apt-get", [...options, "-qq", "source", "--download-only", name], work);
  const [description] = globSync("*.dsc", { cwd: work });
  if (description === undefined) throw new Error(`no source of ${name} came`);
  run("dpkg-source", ["--no-check", "-x", description, "unpacked"], work);
  renameSync(join(work, "unpacked"), dir);
  rmSync(join(dir, ".pc"), { recursive: true, force: true }); // which patches are in: of no interest to anybody else
  return `${name} ${/^Version: (.*)$/m.exec(readFileSync(join(work, description), "utf8"))?.[1]}`;
}
