import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { project } from "../support/farm.ts";
import { tempDir } from "../support/temp-dir.ts";

const root = resolve(import.meta.dirname, "../..");

/** The package in the node_modules of an empty folder, beside its dependencies, as `npm install` leaves it. */
function install(): string {
  const dist = tempDir();
  const packed = spawnSync("sh", [join(root, "deploy/package.sh"), dist], { encoding: "utf8" });
  expect(packed.status, packed.stderr).toBe(0);
  const folder = tempDir();
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, "millrace"), { recursive: true });
  const manifest = readFileSync(join(dist, "package/package.json"), "utf8");
  const { dependencies } = JSON.parse(manifest) as { dependencies: Record<string, string> };
  for (const name of Object.keys(dependencies)) symlinkSync(join(root, "node_modules", name), join(modules, name));
  const tarball = join(dist, packed.stdout.trim());
  const unpacked = spawnSync("tar", ["xzf", tarball, "--strip-components=1", "-C", join(modules, "millrace")]);
  expect(unpacked.status).toBe(0);
  return join(modules, "millrace");
}

it("the packed product is JavaScript, and runs a pipeline on a farm of its own, the second time from its cache", () => {
  const installed = install();
  const types = readdirSync(installed, { recursive: true }).filter((file) => String(file).endsWith(".ts"));
  expect(types).toEqual([]);
  const terms = readFileSync(join(installed, "THIRD-PARTY-LICENSES.txt"), "utf8").split(/^-{80}$/m);
  expect(terms.filter((text) => text.trim().split("\n").length === 1)).toEqual([]); // a name and no terms
  const home = tempDir();
  const { MILLRACE_ADDRESS: _address, MILLRACE_TOKEN: _token, ...env } = process.env;
  const source = project({ "millrace.yaml": "name: p\nstages:\n  a:\n    tasks:\n      b: { run: echo hello }\n" });
  const run = () => {
    const call = ["run", source, "--local", "--json"];
    const own = { ...env, HOME: home, XDG_CACHE_HOME: join(home, "cache"), XDG_CONFIG_HOME: join(home, "config") };
    const { status, stdout, stderr } = spawnSync(join(installed, "bin/millrace"), call, { env: own, encoding: "utf8" });
    expect(status, stderr).toBe(0);
    return (JSON.parse(stdout) as { tasks: { cached: boolean }[] }).tasks.map(({ cached }) => cached);
  };
  expect(run()).toEqual([false]);
  expect(run()).toEqual([true]);
  expect(existsSync(join(home, "config"))).toBe(false);
});
