import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "../../support/temp-dir.ts";

const script = resolve(import.meta.dirname, "../../../bin/millrace");

/** A copy of the launcher in a folder of its own, with programs that say how they were called. */
function install(programs: Readonly<Record<string, string>>) {
  const root = tempDir();
  mkdirSync(join(root, "bin"));
  copyFileSync(script, join(root, "bin/millrace"));
  for (const [path, text] of Object.entries(programs)) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), `#!/bin/sh\n${text}\n`);
    chmodSync(join(root, path), 0o755);
  }
  const spawn = (args: readonly string[], { program = join(root, "bin/millrace"), env = {}, cwd = root } = {}) =>
    spawnSync(program, args, { cwd, encoding: "utf8", env: { PATH: `${join(root, "path")}:/usr/bin:/bin`, ...env } });
  const call = (program?: string, ...args: string[]) => spawn(args, program === undefined ? {} : { program });
  return { root, call, spawn };
}

const says = (name: string) => `echo "${name} $*"`;

describe("bin/millrace", () => {
  it("starts the Node that the folder pins, not the one on the PATH", () => {
    const { root, call } = install({ "node_modules/node/bin/node": says("pinned"), "path/node": says("other") });
    const { stdout } = call(undefined, "runs", "a b");
    expect(stdout).toBe(`pinned --disable-warning=ExperimentalWarning ${root}/bin/main.ts runs a b\n`);
  });

  it("starts what was built, on the Node beside it, where it is an installed package", () => {
    const { root, call } = install({
      "node_modules/millrace/lib/main.js": "",
      "node_modules/millrace/bin/millrace": "",
      "node_modules/node/bin/node": says("pinned"),
      "path/node": says("other"),
    });
    const program = join(root, "node_modules/millrace/bin/millrace");
    copyFileSync(script, program);
    const { stdout } = call(program, "runs");
    expect(stdout).toBe(
      `pinned --disable-warning=ExperimentalWarning ${root}/node_modules/millrace/lib/main.js runs\n`,
    );
  });

  it("finds its folder through links, absolute and relative", () => {
    const { root, call } = install({ "node_modules/node/bin/node": says("pinned") });
    symlinkSync("bin/millrace", join(root, "relative"));
    symlinkSync(join(root, "relative"), join(root, "absolute"));
    expect(call(join(root, "absolute")).stdout).toContain(`${root}/bin/main.ts`);
  });

  it("finds its folder when a shell reads it by its bare name", () => {
    const { root, spawn } = install({ "node_modules/node/bin/node": says("pinned") });
    const { stdout } = spawn(["millrace", "runs"], { program: "/bin/sh", cwd: join(root, "bin") });
    expect(stdout).toContain(`${root}/bin/main.ts runs`);
  });

  it("keeps compiled code in the user's cache, or where Node was told to", () => {
    const { spawn } = install({ "node_modules/node/bin/node": 'echo "$NODE_COMPILE_CACHE"' });
    const kept = (env: Readonly<Record<string, string>>) => spawn([], { env }).stdout.trim();
    expect(kept({ HOME: "/users/a b" })).toBe("/users/a b/.cache/millrace/node");
    expect(kept({ HOME: "/users/a", XDG_CACHE_HOME: "/cache" })).toBe("/cache/millrace/node");
    expect(kept({ HOME: "/users/a", NODE_COMPILE_CACHE: "/other" })).toBe("/other");
    expect(kept({})).toBe("");
  });

  it("gives an agent few memory pools, unless it is told otherwise, and nothing else any", () => {
    const { spawn } = install({ "node_modules/node/bin/node": 'echo "$MALLOC_ARENA_MAX"' });
    const pools = (args: string[], env = {}) => spawn(args, { env }).stdout.trim();
    expect(pools(["agent"])).toBe("2");
    expect(pools(["agent"], { MALLOC_ARENA_MAX: "8" })).toBe("8");
    expect(pools(["coordinator"])).toBe("");
  });

  it("takes the Node of the machine where nothing is pinned and it is new enough", () => {
    const node = (version: string) => `[ "$1" = --version ] && echo ${version} || echo "machine $*"`;
    const { call } = install({ "path/node": node("v24.0.0") });
    expect(call().stdout).toMatch(/^machine /);
    const old = install({ "path/node": node("v20.20.2") }).call();
    expect(old.status).toBe(3);
    expect(old.stderr).toMatch(/needs Node 24 or later, and node is v20\.20\.2; run: npm install node@24/);
  });
});
