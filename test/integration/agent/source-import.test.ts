import { chmodSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ImportPhase } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { memoryCas } from "../../../shared/cas/memory-cas.ts";
import { digestKey, digestOf } from "../../../shared/digest.ts";
import { limits } from "../../../shared/limits.ts";
import { createRepository, runGit, startGitServer } from "../../support/git-server.ts";
import { openImporter } from "../../support/importer.ts";
import { tempDir } from "../../support/temp-dir.ts";

const keyOf = (text: string) => digestKey(digestOf(Buffer.from(text)));

test.each(["sha1", "sha256"])(
  "a commit of a %s repository becomes its tree: files, modes, symlinks",
  async (format) => {
    const server = await startGitServer();
    const repository = server.create("shop.git", `--object-format=${format}`);
    repository.push({ "README.md": "read me\n", "src/deep/er/a.txt": "a\n" });
    writeFileSync(join(repository.work, "run.sh"), "#!/bin/sh\n");
    chmodSync(join(repository.work, "run.sh"), 0o755);
    symlinkSync("../README.md", join(repository.work, "src/about"));
    writeFileSync(join(repository.work, "large.bin"), "x".repeat(2 * limits.smallBlobBytes));
    const commit = repository.push({}, { message: "modes" });
    const importer = await openImporter();
    const phases: ImportPhase[] = [];
    const { git, files } = await importer.import({ url: repository.url, onPhase: (phase) => phases.push(phase) });
    expect(files).toEqual({
      ...{
        "README.md": "read me\n",
        "src/deep/er/a.txt": "a\n",
        "run.sh!": "#!/bin/sh\n",
        "src/about": "-> ../README.md",
      },
      "large.bin": "x".repeat(2 * limits.smallBlobBytes),
    });
    expect(git).toMatchObject({ url: repository.url, ref: "", branch: "main", commit, previousCommit: "" });
    expect(git.commits.map(({ subject }) => subject)).toEqual(["modes"]);
    expect(phases).toEqual([ImportPhase.FETCHING, ImportPhase.UPLOADING]);
  },
);

test("the bytes are those in git, whatever attributes say of line ends, filters and exports", async () => {
  const server = await startGitServer();
  const repository = server.create("shop.git");
  const attributes = "*.txt text eol=crlf ident\nsecret.md export-ignore\n";
  repository.push({ ".gitattributes": attributes, "a.txt": "one $Id$\n", "secret.md": "kept\n" });
  const { files } = await (await openImporter()).import({ url: repository.url });
  expect(files).toEqual({ ".gitattributes": attributes, "a.txt": "one $Id$\n", "secret.md": "kept\n" });
});

test("a new commit costs its changed files and the folders on the way to them", async () => {
  const server = await startGitServer();
  const repository = server.create("shop.git");
  const files = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`src/d${i % 10}/f${i}.txt`, `file ${i}\n`]));
  repository.push({ ...files, "millrace.yaml": "name: shop\n" });
  const importer = await openImporter();
  const first = await importer.import({ url: repository.url });
  expect(importer.sent().length).toBe(301 + 12 + 1); // files, folders, and what is said of the commit
  repository.push({ "src/d3/f3.txt": "changed\n" });
  const second = await importer.import({ url: repository.url, previous: { main: first.git.commit } });
  const sent = importer.sent();
  expect(sent.length).toBe(1 + 3 + 1);
  expect(sent).toContain(keyOf("changed\n"));
  expect(second.files["src/d3/f3.txt"]).toBe("changed\n");
  expect(second.git).toMatchObject({ changedPaths: ["src/d3/f3.txt"], changedPathsKnown: true, moreCommits: false });
  // The same commit once more: nothing is fetched and nothing is sent but what is said of it.
  const uploads = server.requests.filter(({ path }) => path.includes("git-upload-pack")).length;
  await importer.import({ url: repository.url });
  expect(importer.sent().length).toBe(1);
  const again = server.requests.filter(({ path }) => path.includes("git-upload-pack")).length - uploads;
  expect(again).toBe(2); // it asks for the refs, and for no pack
});

test("an import that takes nothing for known brings back what the store has lost", async () => {
  const server = await startGitServer();
  const repository = server.create("shop.git");
  repository.push({ "src/a.txt": "a\n", "src/b.txt": "b\n" });
  const importer = await openImporter();
  const { root, files } = await importer.import({ url: repository.url });
  const other = await openImporter({ dir: importer.dir, cas: memoryCas() });
  await other.execute({ url: repository.url });
  expect((await other.cas.findMissing([root])).length).toBe(1); // it was thought to be there
  expect((await other.import({ url: repository.url, whole: true })).files).toEqual(files);
});

test("a branch, a tag, an annotated tag, a full name and a commit name what they are", async () => {
  const server = await startGitServer();
  const repository = server.create("shop.git");
  const old = repository.push({ "a.txt": "1\n" });
  repository.git("tag", "plain");
  repository.git("tag", "-a", "annotated", "-m", "one");
  repository.git("push", "--quiet", repository.path, "--tags");
  const topic = repository.push({ "a.txt": "2\n" }, { branch: "topic/x" });
  repository.git("push", "--quiet", repository.path, "HEAD:refs/pull/7/head");
  repository.push({ "a.txt": "3\n" });
  const importer = await openImporter();
  const about = async (ref: string) => {
    const { git, files } = await importer.import({ url: repository.url, ref });
    return [git.branch, git.commit, files["a.txt"]];
  };
  expect(await about("topic/x")).toEqual(["topic/x", topic, "2\n"]);
  expect(await about("plain")).toEqual(["", old, "1\n"]);
  expect(await about("annotated")).toEqual(["", old, "1\n"]);
  expect(await about("refs/pull/7/head")).toEqual(["", topic, "2\n"]);
  expect(await about(old)).toEqual(["", old, "1\n"]);
  expect((await about("HEAD"))[0]).toBe("main");
  expect(await importer.refusal({ url: repository.url, ref: old.slice(0, 12) })).toContain("by all of its digits");
});

test("of changed paths that are too long together only so many are listed, and that they are not all", async () => {
  const server = await startGitServer();
  const repository = server.create("long.git");
  const long = (i: number) => `${Array.from({ length: 15 }, () => "d".repeat(200)).join("/")}/f${i}`;
  const before = repository.push(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [long(i), "x\n"])));
  repository.push({ ...Object.fromEntries(Array.from({ length: 100 }, (_, i) => [long(i), null])), "a.txt": "1\n" });
  const { git } = await (await openImporter()).import({ url: repository.url, previous: { main: before } });
  expect(git.changedPathsKnown).toBe(false);
  expect(git.changedPaths.length).toBe(Math.floor((limits.changedPathsBytes - "a.txt".length) / long(10).length) + 1);
});

test("a forced push is followed, and the list says that the commit before is no ancestor", async () => {
  const server = await startGitServer();
  const repository = server.create("shop.git");
  repository.push({ "a.txt": "1\n" });
  const before = repository.push({ "a.txt": "2\n" });
  const importer = await openImporter();
  await importer.import({ url: repository.url });
  repository.git("reset", "--quiet", "--hard", "HEAD~1");
  const commit = repository.push({ "a.txt": "3\n" });
  const { git } = await importer.import({ url: repository.url, previous: { main: before } });
  expect(git).toMatchObject({ commit, previousCommit: before, moreCommits: true, changedPaths: ["a.txt"] });
  // Another agent has never seen the commit that is gone, and the server has no name for it: it asks by its id.
  const other = await openImporter({ cas: importer.cas });
  expect((await other.import({ url: repository.url, previous: { main: before } })).git).toMatchObject({
    ...{ commit, previousCommit: before, moreCommits: true },
  });
});

test("a commit that the repository has dropped is said to be unknown, and nothing about changed paths", async () => {
  const server = await startGitServer();
  const repository = server.create("shop.git");
  repository.push({ "a.txt": "1\n" });
  const importer = await openImporter();
  const { git } = await importer.import({ url: repository.url, previous: { main: "a".repeat(40) } });
  expect(git).toMatchObject({ previousCommit: "a".repeat(40), changedPathsKnown: false, moreCommits: true });
});

test("a shallow remote and one with more history than is listed are both read", async () => {
  const server = await startGitServer();
  const repository = server.create("long.git");
  const first = repository.push({ "a.txt": "begin\n" });
  for (let i = 0; i < limits.sourceCommits + 5; i += 1)
    repository.git("commit", "--quiet", "--allow-empty", "-m", `c${i}`);
  const commit = repository.push({ "a.txt": "end\n" });
  runGit(server.folder, "clone", "--quiet", "--bare", "--depth=3", `file://${repository.path}`, "shallow.git");
  const importer = await openImporter();
  const shallow = await importer.import({ url: `${server.origin}/shallow.git` });
  expect(shallow.files).toEqual({ "a.txt": "end\n" });
  const { git } = await importer.import({ url: repository.url, previous: { main: first } });
  expect(git).toMatchObject({ commit, moreCommits: true, changedPaths: ["a.txt"], changedPathsKnown: true });
  expect(git.commits.length).toBe(limits.sourceCommits);
});

test("a damaged mirror is made anew", async () => {
  const server = await startGitServer();
  const repository = server.create("shop.git");
  repository.push({ "a.txt": "1\n" });
  const importer = await openImporter();
  await importer.import({ url: repository.url });
  // What an agent that was killed in the middle of a fetch leaves, and what a bad disk does.
  writeFileSync(join(importer.folder, "mirrors/1/shallow.lock"), "");
  writeFileSync(join(importer.folder, "mirrors/1/HEAD"), "nothing");
  repository.push({ "a.txt": "2\n" });
  expect((await importer.import({ url: repository.url })).files).toEqual({ "a.txt": "2\n" });
  expect(importer.errors.map(({ message }) => message)).toEqual([expect.stringContaining("is made anew")]);
});

test("two imports of one repository at once take turns, and neither fetches what the other has", async () => {
  const server = await startGitServer();
  const repository = server.create("shop.git");
  repository.push({ "a.txt": "1\n" });
  const importer = await openImporter();
  const both = await Promise.all([1, 2].map(() => importer.import({ url: repository.url })));
  expect(both.map(({ files }) => files)).toEqual([{ "a.txt": "1\n" }, { "a.txt": "1\n" }]);
  expect(importer.sent().filter((key) => key === keyOf("1\n")).length).toBe(1);
});

test("an import that waits for its turn, and one that fetches, end when they are told to", async () => {
  const server = await startGitServer();
  const repository = server.create("shop.git");
  repository.push({ "a.txt": "1\n" });
  const importer = await openImporter();
  const asked = Promise.withResolvers<void>();
  const never = Promise.withResolvers<void>();
  server.hold(() => {
    asked.resolve();
    return never.promise;
  });
  const stops = [new AbortController(), new AbortController()] as const;
  const first = importer.execute({ url: repository.url, stop: stops[0].signal });
  const second = importer.execute({ url: repository.url, stop: stops[1].signal });
  await asked.promise;
  stops[1].abort(new Error("no more"));
  expect((await second).ending.detail).toContain("no more");
  stops[0].abort(new Error("no more either"));
  expect((await first).ending.detail).toContain("no more either");
  never.resolve();
});

test("a repository on the agent's machine is read where its operator allows the path", async () => {
  const folder = tempDir();
  const repository = createRepository({ folder, origin: folder }, "shop.git");
  repository.push({ "a.txt": "1\n" });
  const allowed = await openImporter({ allowedPaths: [folder] });
  expect((await allowed.import({ url: repository.path })).files).toEqual({ "a.txt": "1\n" });
  expect(await (await openImporter()).refusal({ url: repository.path })).toContain("--source-path");
  expect(await (await openImporter({ allowedPaths: [`${folder}/sh`] })).refusal({ url: repository.path })).toContain(
    "--source-path",
  );
});
