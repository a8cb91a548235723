import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { lookUp } from "../../../agent/source/fetch-commit.ts";
import { gitProgram } from "../../../agent/source/git.ts";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../shared/limits.ts";
import { encodeDirectory } from "../../../shared/merkle/directory.ts";
import { type PushedRepository, startGitServer } from "../../support/git-server.ts";
import { openImporter } from "../../support/importer.ts";
import { tempDir } from "../../support/temp-dir.ts";

/** A tree object of these entries, whatever git's own commands would say of it. */
function writeTree(
  repository: PushedRepository,
  entries: readonly (readonly [string, string | Buffer, string])[],
): string {
  const parts = entries.map(([mode, name, oid]) => [
    Buffer.from(`${mode} `),
    Buffer.from(name),
    Buffer.of(0),
    Buffer.from(oid, "hex"),
  ]);
  return writeObject(repository, "tree", Buffer.concat(parts.flat()));
}

function writeObject({ path }: PushedRepository, type: string, input: string | Buffer): string {
  const args = ["hash-object", "-w", "--stdin", "-t", type, "--literally"];
  return execFileSync("git", args, { cwd: path, input, encoding: "utf8" }).trim();
}

/** Makes a commit of the tree the head of main. */
function commitTree(repository: PushedRepository, tree: string): void {
  const who = "Mallory <mallory@example.org> 0 +0000";
  const commit = writeObject(repository, "commit", `tree ${tree}\nauthor ${who}\ncommitter ${who}\n\nhostile\n`);
  execFileSync("git", ["update-ref", "refs/heads/main", commit], { cwd: repository.path });
}

test("trees that no source can be are refused, each with the path", async () => {
  const server = await startGitServer();
  const repository = server.create("hostile.git");
  const importer = await openImporter();
  const blob = writeObject(repository, "blob", "x");
  const climbs = (target: string) => writeObject(repository, "blob", target);
  const refusal = async (entries: Parameters<typeof writeTree>[1]) => {
    commitTree(repository, writeTree(repository, [["40000", "src", writeTree(repository, entries)]]));
    return await importer.refusal({ url: repository.url });
  };
  expect(await refusal([["100644", "..", blob]])).toContain('"src/.."');
  expect(await refusal([["100644", ".git", blob]])).toContain('"src/.git"');
  expect(await refusal([["100644", ".GIT", blob]])).toContain('"src/.GIT"');
  expect(await refusal([["100644", "a/b", blob]])).toContain('contains "/"');
  expect(await refusal([["100644", Buffer.of(0xff, 0xfe), blob]])).toContain("not valid UTF-8");
  expect(await refusal([["100644", "x".repeat(256), blob]])).toContain("longer than the 255 bytes");
  expect(
    await refusal([
      ["100644", "a", blob],
      ["100755", "a", blob],
    ]),
  ).toContain('"src/a" is there twice');
  expect(await refusal([["10644", "fifo", blob]])).toContain('"src/fifo" has the mode 10644');
  expect(await refusal([["120000", "out", climbs("../../etc/passwd")]])).toContain("leads out of the source");
  expect(await refusal([["120000", "root", climbs("/etc/passwd")]])).toContain(
    '"src/root": its target "/etc/passwd" is absolute',
  );
  expect(await refusal([["120000", "up", climbs("a/../../..")]])).toContain("climbs behind a name");
  expect(await refusal([["160000", "vendor", "1".repeat(40)]])).toContain('"src/vendor" is a submodule');
  expect(importer.sent()).toEqual([]);
});

test("a folder whose symlinks are inside the source may not be moved to where they lead out", async () => {
  const server = await startGitServer();
  const repository = server.create("shop.git");
  repository.push({ "a/b/readme": "x\n" });
  symlinkSync("../../a/b/readme", join(repository.work, "a/b/link"));
  repository.push({});
  const importer = await openImporter();
  await importer.import({ url: repository.url }); // the folder b is known from now on
  repository.git("mv", "a/b", "b");
  repository.push({});
  expect(await importer.refusal({ url: repository.url })).toContain("a symlink leads out of the source"); // all of it is known
  repository.push({ "c.txt": "x\n" });
  expect(await importer.refusal({ url: repository.url })).toContain('"b" leads out of the source');
});

test("a file that was imported is not taken for a folder, nor a folder for a file, by the word of a tree", async () => {
  const server = await startGitServer();
  const repository = server.create("hostile.git");
  const importer = await openImporter();
  // A Directory of the store as the content of a file: nobody has looked at what is in it.
  const forged = encodeDirectory(new Map([["etc", { kind: "symlink", target: "/etc" }]])).data;
  const file = writeObject(repository, "blob", Buffer.from(forged));
  const folder = writeTree(repository, [["100644", "a", writeObject(repository, "blob", "x")]]);
  commitTree(
    repository,
    writeTree(repository, [
      ["100644", "file", file],
      ["40000", "folder", folder],
    ]),
  );
  await importer.import({ url: repository.url });
  for (const entry of [
    ["40000", "forged", file],
    ["100644", "forged", folder],
  ] as const) {
    // A server may send what nothing that it names refers to: then git has never looked at how it hangs together.
    for (const where of [{ ...repository, path: join(importer.folder, "mirrors/1") }, repository]) {
      commitTree(where, writeTree(where, [entry]));
    }
    const { ending } = await importer.execute({ url: repository.url });
    expect([ending.kind, ending.detail]).toEqual([EndingKind.REFUSED, expect.stringContaining('"forged"')]);
  }
});

test("a branch that no git would call so, as a server says, is none", async () => {
  const commit = "1".repeat(40);
  const line = (text: string) => `${(text.length + 4).toString(16).padStart(4, "0")}${text}`;
  const capabilities = "symref=HEAD:refs/heads/\u001b[2Jx object-format=sha1";
  const refs = `${line("# service=git-upload-pack\n")}0000${line(`${commit} HEAD\0${capabilities}\n`)}0000`;
  const git = gitProgram({ path: process.env.PATH ?? "", folder: tempDir(), allowedPaths: [] });
  const server = createServer((_, response) => {
    response.writeHead(200, { "Content-Type": "application/x-git-upload-pack-advertisement" }).end(refs);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/x.git`;
  const { signal } = new AbortController();
  expect(await lookUp({ git, folder: tempDir(), url, ref: "", onFetch: () => {}, signal })).toEqual({
    ...{ name: "HEAD", oid: commit, branch: "" },
  });
});

test("a tree too deep, and one that unfolds to more files than can be, cost little and are refused", async () => {
  const server = await startGitServer();
  const repository = server.create("bomb.git");
  const importer = await openImporter();
  let tree = writeTree(repository, [["100644", "a", writeObject(repository, "blob", "x")]]);
  for (let i = 0; i <= limits.treeDepth; i += 1) tree = writeTree(repository, [["40000", "d", tree]]);
  commitTree(repository, tree);
  expect(await importer.refusal({ url: repository.url })).toContain(`deeper than ${limits.treeDepth} levels`);
  let bomb = writeTree(repository, [["100644", "a", writeObject(repository, "blob", "x")]]);
  for (let i = 0; i < 20; i += 1) {
    bomb = writeTree(
      repository,
      Array.from("0123456789", (name) => ["40000", name, bomb] as const),
    );
  }
  commitTree(repository, bomb);
  const { root } = await importer.import({ url: repository.url }).catch(() => ({ root: undefined }));
  expect(root).toBeUndefined(); // whoever reads all of it refuses it; see the coordinator's bound on entries
  expect(importer.sent().length).toBeLessThan(30);
});

test("a source that unfolds to more than may be imported is refused, naming the bound and the file", async () => {
  const server = await startGitServer();
  const repository = server.create("bomb.git");
  repository.push({ "a.txt": "a", "zeros.bin": "\0".repeat(2 * limits.smallBlobBytes) });
  const importer = await openImporter({ maxBytes: 2 * limits.smallBlobBytes });
  const refusal = await importer.refusal({ url: repository.url });
  expect(refusal).toMatch(
    /^"(zeros.bin|a.txt)" makes the source larger than 256\.0 KiB, which is the most: fetch what/,
  );
  await (await openImporter({ maxBytes: 2 * limits.smallBlobBytes + 1 })).import({ url: repository.url });
});

test("a pointer of Git LFS is refused, naming the file", async () => {
  const server = await startGitServer();
  const repository = server.create("shop.git");
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 12345\n`;
  repository.push({ "media/film.mp4": pointer });
  expect(await (await openImporter()).refusal({ url: repository.url })).toContain(
    '"media/film.mp4" is kept in Git LFS',
  );
});

test.each([
  ["ext::touch /tmp/hit", "main"],
  ["--upload-pack=touch /tmp/hit", "main"],
  ["file:///etc", "main"],
  ["host:path", "main"],
  ["ssh://-oProxyCommand=touch/x", "main"],
  ["https://user:secret@example.org/x.git", "main"],
  ["https://example.org/x.git", "--upload-pack=touch"],
  ["https://example.org/x.git", "refs/heads/*"],
  ["https://example.org/x.git", "main:refs/heads/other"],
])("%s at %s is refused before git is started", async (url, ref) => {
  const importer = await openImporter();
  const refusal = await importer.refusal({ url, ref });
  expect(refusal).toMatch(/the repository|is no name/);
  expect(refusal).not.toContain("secret@");
});

test("nothing of the agent's environment and settings reaches git", async () => {
  const server = await startGitServer();
  const repository = server.create("shop.git");
  repository.push({ "a.txt": "1\n" });
  const trace = join(tempDir(), "trace");
  vi.stubEnv("GIT_TRACE", trace);
  vi.stubEnv("GIT_CONFIG_COUNT", "1");
  vi.stubEnv("GIT_CONFIG_KEY_0", "protocol.http.allow");
  vi.stubEnv("GIT_CONFIG_VALUE_0", "never");
  onTestFinished(() => void vi.unstubAllEnvs());
  await (await openImporter()).import({ url: repository.url });
  expect(existsSync(trace)).toBe(false);
});

test("credentials open the repository, and are in no argument, answer or file", async () => {
  const credentials = "reader:s3cr3t-pass";
  const server = await startGitServer({ credentials });
  const repository = server.create("private.git");
  repository.push({ "a.txt": "1\n" });
  const importer = await openImporter({ credentials });
  const shown = new Set<string>();
  server.hold(async () => {
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      const file = `/proc/${pid}/cmdline`;
      shown.add(await readFile(file, "latin1").catch(() => "")); // it may end just now
    }
  });
  const { git } = await importer.import({ url: repository.url });
  const forms = [credentials, "s3cr3t-pass", Buffer.from(credentials).toString("base64")];
  const texts = [...shown, JSON.stringify({ ...git, commits: [] }), ...filesBelow(importer.dir)];
  expect(shown.size).toBeGreaterThan(3);
  expect([...shown].some((said) => said.includes("git"))).toBe(true);
  for (const form of forms) expect(texts.filter((text) => text.includes(form))).toEqual([]);
});

test("a repository that does not let us in says so, with wrong credentials and with none", async () => {
  const server = await startGitServer({ credentials: "reader:right" });
  const repository = server.create("private.git");
  repository.push({ "a.txt": "1\n" });
  expect(await (await openImporter()).refusal({ url: repository.url })).toContain("does not let us in");
  const refusal = await (await openImporter({ credentials: "reader:wrong" })).refusal({ url: repository.url });
  expect(refusal).toContain("does not let us in");
  expect(refusal).toContain("another value of the one it has");
  expect(refusal).not.toContain("askpass");
  expect(refusal).not.toContain("wrong");
});

test("a redirect is followed without credentials only", async () => {
  const elsewhere = await startGitServer();
  const repository = elsewhere.create("shop.git");
  repository.push({ "a.txt": "1\n" });
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(302, { Location: `${elsewhere.origin}${request.url}` }).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/shop.git`;
  expect(await (await openImporter({ credentials: "reader:secret" })).refusal({ url })).toContain("it has moved");
  expect(seen).toEqual([expect.stringMatching(/^Basic /)]);
  expect(elsewhere.requests).toEqual([]);
  expect((await (await openImporter()).import({ url })).files).toEqual({ "a.txt": "1\n" });
});

test("a repository that is not there is refused, and a server that is not there may be asked by another agent", async () => {
  const server = await startGitServer();
  const importer = await openImporter();
  expect(await importer.refusal({ url: `${server.origin}/none.git` })).toContain("there is no repository to be seen");
  const empty = server.create("empty.git");
  expect(await importer.refusal({ url: empty.url })).toContain("has no HEAD");
  empty.push({ "a.txt": "1\n" });
  expect(await importer.refusal({ url: empty.url, ref: "a".repeat(40) })).toContain("has no commit aaaa");
  await server.close();
  const { ending } = await importer.execute({ url: `${server.origin}/none.git` });
  expect(ending).toMatchObject({
    kind: EndingKind.INFRASTRUCTURE,
    detail: expect.stringContaining("cannot be reached"),
  });
});

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1"));
}
