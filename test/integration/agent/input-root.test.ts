import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { HeldCache } from "../../../agent/caches/named-caches.ts";
import { collectOutputs } from "../../../agent/executor/collect-outputs.ts";
import { inputRoots } from "../../../agent/input-root/input-root.ts";
import { inputTrees } from "../../../agent/input-root/input-trees.ts";
import { type InputRootMode, probeInputRootMode } from "../../../agent/input-root/mode.ts";
import { patience } from "../../../agent/retry.ts";
import { openRunner } from "../../../agent/runner/runner.ts";
import { openBlobFiles } from "../../../agent/store/blob-files.ts";
import { localStore } from "../../../agent/store/local-store.ts";
import { memoryCas } from "../../../shared/cas/memory-cas.ts";
import { systemClock } from "../../../shared/clock.ts";
import { type Digest, type DigestKey, digestOf } from "../../../shared/digest.ts";
import { buildTree } from "../../../shared/merkle/build-tree.ts";
import { userNamespacesWork } from "../../support/machine.ts";
import { tempDir } from "../../support/temp-dir.ts";

const { signal } = new AbortController();
const rootless: InputRootMode = {
  kind: "overlay",
  namespace: ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"],
  options: "upperdir=upper,workdir=work,userxattr",
};

async function setup(mode: InputRootMode, smallTreeEntries?: number) {
  const folder = tempDir();
  const at = (name: string) => join(folder, name);
  const farm = memoryCas();
  const errors: string[] = [];
  const pinned = new Map<DigestKey, number>();
  const store = localStore({
    files: openBlobFiles(at("store")),
    farm,
    patiently: patience(systemClock, () => {}),
    onUse: () => {},
    pinned,
    onError: (error) => errors.push(error.message),
  });
  const runner = await openRunner({
    name: `millrace-test-${digestOf(Buffer.from(folder)).hash.slice(0, 12)}`,
    stateFile: at("containment"),
    startsFile: at("starts"),
    namespace: mode.kind === "overlay" ? mode.namespace : [],
    clock: systemClock,
  });
  const onError = (error: Error) => errors.push(error.message);
  const trees = inputTrees(store, at("trees"), onError);
  const small = smallTreeEntries === undefined ? {} : { smallTreeEntries };
  const roots = inputRoots({ mode, store, trees, runner, folder: at("work"), onError, ...small });
  onTestFinished(async () => {
    await roots.close();
    await trees.close();
    await runner.close();
    expect(errors).toEqual([]);
    expect(pinned.size).toBe(0);
    expect(readdirSync(at("work"))).toEqual([]);
  });
  let spools = 0;
  return {
    ...{ farm, roots, at },
    async tree(files: Record<string, string>): Promise<Digest> {
      const blobs = Object.entries(files).map(([path, text]) => ({
        path,
        digest: digestOf(Buffer.from(text)),
        data: Buffer.from(text),
      }));
      const { root, directories } = buildTree(
        blobs.map(({ path, digest }) => ({ path, node: { kind: "file" as const, digest, executable: false } })),
      );
      await farm.writeMany([...blobs, ...directories.values()]);
      return root;
    },
    /** Runs a script in a fresh root; gives its output and what it left of the paths named. */
    async run(root: Digest, script: string, paths: string[] = [], folders: string[] = [], caches: HeldCache[] = []) {
      const place = await roots.create(root, { folders, caches }, signal);
      const spool = at(`spool-${++spools}`);
      writeFileSync(spool, "");
      const running = await runner.start({
        executionId: "exe",
        attempt: 1,
        arguments: ["sh", "-c", script],
        environment: { PATH: "/usr/bin:/bin", HOME: place.home, TMPDIR: place.temporary },
        workingFolder: place.path,
        spool,
        ...(place.mount === undefined ? {} : { mount: place.mount }),
      });
      const { code } = await running.ended;
      const look = await place.look();
      const left = await collectOutputs(
        look.path,
        paths.map((path) => ({ path, fromRoot: path })),
        signal,
      );
      await look.close();
      place.remove();
      return { code, output: readFileSync(spool, "utf8"), left };
    },
  };
}

test("the probe finds a mode that works here", async () => {
  const folder = tempDir();
  const mode = await probeInputRootMode(folder);
  expect(["overlay", "copy"]).toContain(mode.kind);
  expect(readdirSync(folder)).toEqual([]);
});

const found = await probeInputRootMode("/tmp");
describe.each<[string, InputRootMode, number?]>([
  ["as found by the probe", found],
  ["mounted, however small", found, -1],
  ["overlay without privileges", rootless, -1],
  ["copies", { kind: "copy" }],
])("an input root (%s)", (_, mode, smallTreeEntries) => {
  beforeEach(({ skip }) => skip(mode === rootless && !userNamespacesWork, "no user namespaces here"));

  test("holds the inputs and nothing else, and an empty home and temporary folder", async () => {
    const { run, tree } = await setup(mode, smallTreeEntries);
    const root = await tree({ "a/b": "content", c: "" });
    const { output } = await run(root, 'find . | sort; cat a/b; ls -A "$HOME" "$TMPDIR" | grep -v :');
    expect(output.trim()).toBe(".\n./a\n./a/b\n./c\ncontent".trim());
  });

  test("keeps every write to itself", async () => {
    const { run, tree } = await setup(mode, smallTreeEntries);
    const root = await tree({ "a/b": "first", c: "second" });
    const destroy =
      "chmod u+w a/b c; echo more >> a/b; : > c; rm a/b; rmdir a; mkdir a; echo new > a/new; rm c; mkdir c";
    expect(await run(root, destroy)).toMatchObject({ code: 0, output: "" });
    expect((await run(root, "cat a/b c; ls a")).output).toBe("firstsecondb\n");
  });

  test("shows outputs as the process left them: merged, replaced, removed, renamed", async () => {
    const { run, tree } = await setup(mode, smallTreeEntries);
    const root = await tree({ "keep/old": "old", "gone/x": "x", "emptied/x": "x" });
    const { left, code, output } = await run(
      root,
      "echo new > keep/new; rm -r gone; rm emptied/x; rm -r keep/none 2>/dev/null; mkdir made; echo 1 > made/one; mv made moved; ln -s keep link",
      ["keep", "gone", "emptied", "moved", "link", "keep/old"],
    );
    expect({ code, output }).toEqual({ code: 0, output: "" });
    const { files: bytes } = left.snapshot;
    expect(left.directories.map(({ path }) => path)).toEqual(["keep", "emptied", "moved"]);
    expect(left.files.map(({ path }) => path)).toEqual(["keep/old"]);
    expect(left.symlinks).toMatchObject([{ path: "link", target: "keep" }]);
    expect(left.problems).toEqual(['output "gone" is missing']);
    expect(bytes.size).toBe(3);
  });

  test("has caches on top, whose layers no task can write to, and gives them back when it is gone", async () => {
    const { run, tree, at, roots } = await setup(mode);
    const root = await tree({ "a/input": "input", "a/b/input": "input" });
    mkdirSync(at("layer/a/b/c/deep"), { recursive: true });
    writeFileSync(at("layer/a/b/c/file"), "kept\n");
    writeFileSync(at("layer/a/b/c/deep/file"), "deep\n");
    let released = 0;
    const release = () => void released++;
    const caches = [
      { path: "a/b/c", layer: at("layer"), release },
      { path: "empty", layer: undefined, release },
    ];
    const list = "find . -type f | sort; cat a/b/c/file; ls -A empty";
    const inputs = "./a/b/c/deep/file\n./a/b/c/file\n./a/b/input\n./a/input\nkept\n";
    const spoil = `${list}; echo more >> a/b/c/file; rm -r a/b/c/deep; echo new > a/b/c/new; echo new > empty/new`;
    expect(await run(root, spoil, [], [], caches)).toMatchObject({ code: 0, output: inputs });
    expect((await run(root, list, [], [], caches)).output).toBe(inputs);
    await roots.close();
    expect(released).toBe(4);
    expect(readFileSync(at("layer/a/b/c/file"), "utf8")).toBe("kept\n");
  });

  test("is not made with a cache where the inputs are; the cache is given back", async () => {
    const { run, tree, roots } = await setup(mode);
    const root = await tree({ "a/b": "input" });
    let released = 0;
    for (const path of ["a", "a/b", "a/b/c"]) {
      const cache = { path, layer: undefined, release: () => void released++ };
      await expect(run(root, "true", [], [], [cache])).rejects.toMatchObject({ code: "invalid_argument" });
    }
    await roots.close();
    expect(released).toBe(3);
  });

  test("has the folders that were asked for, and leaves an input in their place alone", async () => {
    const { run, tree } = await setup(mode, smallTreeEntries);
    const root = await tree({ file: "input", "dir/x": "x" });
    const { output } = await run(root, "ls -d dir/deep/er file; cat file dir/x", [], ["dir/deep/er", "file/below"]);
    expect(output).toBe("dir/deep/er\nfile\ninputx");
  });
});

describe("collecting outputs", () => {
  test("follows no symlink on the way, and says what it cannot keep", async () => {
    const root = tempDir();
    const outside = tempDir();
    writeFileSync(join(outside, "secret"), "not ours");
    const { symlinkSync } = await import("node:fs");
    symlinkSync(outside, join(root, "link"));
    mkdirSync(join(root, "dir"));
    symlinkSync("/etc/passwd", join(root, "dir/absolute"));
    const paths = ["link/secret", "dir", "absent/x"];
    const { files, directories, problems } = await collectOutputs(
      root,
      paths.map((path) => ({ path, fromRoot: path })),
      signal,
    );
    expect(files).toEqual([]);
    expect(directories).toEqual([]);
    expect(problems).toHaveLength(3);
    expect(problems[0]).toContain('behind the symlink "link"');
    expect(problems[1]).toContain("/etc/passwd");
    expect(existsSync(join(outside, "secret"))).toBe(true);
  });

  test("the root itself may be the output", async () => {
    const root = tempDir();
    writeFileSync(join(root, "file"), "x");
    const { directories } = await collectOutputs(root, [{ path: "", fromRoot: "" }], signal);
    expect(directories).toHaveLength(1);
  });
});
