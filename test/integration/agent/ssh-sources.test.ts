import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { createRepository } from "../../support/git-server.ts";
import { openImporter } from "../../support/importer.ts";
import { hasSshd, type SshServerOptions, startSshServer } from "../../support/ssh-server.ts";
import { tempDir } from "../../support/temp-dir.ts";

/** A repository in a folder of the test's, with its address by SSH. */
async function shopBySsh(options: SshServerOptions = {}) {
  const server = await startSshServer(options);
  const folder = tempDir();
  const repository = createRepository({ folder, origin: `ssh://${server.login}:${server.port}${folder}` }, "shop.git");
  repository.push({ "a.txt": "1\n" });
  return { server, repository, credentials: server.privateKey };
}

/** The keys that a server shows, as a person would look for them. */
function scan({ port }: { readonly port: number }): string {
  const args = ["-t", "ed25519", "-p", String(port), "127.0.0.1"];
  return execFileSync("ssh-keyscan", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
}

/** Without sshd (Debian: openssh-server) there is nobody to ask. */
describe.skipIf(!hasSshd)("a repository that is read by SSH", () => {
  test("is imported with the private key and the host's, again when it has changed, and by a commit", async () => {
    const { server, repository, credentials } = await shopBySsh();
    const importer = await openImporter({ credentials, knownHosts: server.knownHosts });
    expect((await importer.import({ url: repository.url })).files).toEqual({ "a.txt": "1\n" });
    const commit = repository.push({ "a.txt": "2\n" });
    expect((await importer.import({ url: repository.url, ref: commit })).files).toEqual({ "a.txt": "2\n" });
    expect(await importer.refusal({ url: `${repository.url}x` })).toContain("there is no repository to be seen");
    expect(await importer.refusal({ url: repository.url, ref: "none" })).toContain('has no branch or tag "none"');
  });

  test("pasted with the line ends of Windows and without the last one, the keys are still keys", async () => {
    const { server, repository, credentials } = await shopBySsh();
    const pasted = (text: string) => text.trim().replaceAll("\n", "\r\n");
    const importer = await openImporter({ credentials: pasted(credentials), knownHosts: pasted(server.knownHosts) });
    expect((await importer.import({ url: repository.url })).files).toEqual({ "a.txt": "1\n" });
  });

  // The form has no room for a port, and only root may listen at 22.
  test.skipIf(userInfo().uid !== 0)("may be named as user@host:path, below the user's home or absolute", async () => {
    const server = await startSshServer({ address: "127.0.0.77", port: 22 });
    const repository = createRepository({ folder: tempDir(), origin: "" }, "shop.git");
    repository.push({ "a.txt": "1\n" });
    const importer = await openImporter({ credentials: server.privateKey, knownHosts: server.knownHosts });
    for (const path of [repository.path, relative(userInfo().homedir, repository.path)]) {
      expect((await importer.import({ url: `${server.login}:${path}` })).files).toEqual({ "a.txt": "1\n" });
    }
  });

  test("whose host's key nobody has named is refused, saying what to do", async () => {
    const { server, repository, credentials } = await shopBySsh();
    const refusal = await (await openImporter({ credentials })).refusal({ url: repository.url });
    expect(refusal).toContain(`nobody has said which key its host [127.0.0.1]:${server.port} has`);
    expect(refusal).toContain("millrace project set PROJECT --known-hosts FILE");
    expect(refusal).toContain(`ssh-keyscan -p ${server.port} 127.0.0.1`);
    // What is said there helps.
    await (await openImporter({ credentials, knownHosts: scan(server) })).import({ url: repository.url });
  });

  test("whose host has another key than the named one is refused, naming the fingerprint; several may be named", async () => {
    const { server, repository, credentials } = await shopBySsh();
    await server.renewHostKey();
    const importer = await openImporter({ credentials, knownHosts: server.knownHosts });
    const refusal = await importer.refusal({ url: repository.url });
    expect(refusal).toMatch(/shows another key than the known one \(ED25519 SHA256:[\w+/]{43}\)/);
    expect(refusal).toContain("--known-hosts FILE");
    const both = await openImporter({ credentials, knownHosts: `${server.knownHosts}${scan(server)}` });
    await both.import({ url: repository.url });
  });

  test("whose host is believed at first sight is remembered, and refused with another key, also by a new start", async () => {
    const { server, repository, credentials } = await shopBySsh();
    const trusting = { credentials, trustFirstHostKey: true };
    const importer = await openImporter(trusting);
    await importer.import({ url: repository.url });
    await importer.import({ url: repository.url });
    await server.renewHostKey();
    const later = { ...trusting, dir: importer.dir, cas: importer.cas };
    const again = await openImporter(later);
    expect(await again.refusal({ url: repository.url })).toContain("shows another key than the known one");
    // A key that is named counts more than what was remembered.
    await (await openImporter({ ...later, knownHosts: scan(server) })).import({ url: repository.url });
  });

  test("with another key, one with a passphrase, one that is none, and with none says what is the matter", async () => {
    const { server, repository } = await shopBySsh();
    const { knownHosts } = server;
    const keyOf = (passphrase: string) => {
      const file = join(tempDir(), "key");
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", passphrase, "-f", file]);
      return readFileSync(file, "utf8");
    };
    const refusal = async (credentials?: string) =>
      await (await openImporter({ ...(credentials && { credentials }), knownHosts })).refusal({ url: repository.url });
    expect(await refusal(keyOf(""))).toContain("does not let us in");
    expect(await refusal(keyOf("12345"))).toContain("has a passphrase");
    expect(await refusal(keyOf("").replace(/\n.{40}/, "\n"))).toContain("cannot read the private key");
    expect(await refusal("reader:secret")).toContain("no private SSH key");
    expect(await refusal()).toContain("does not let us in");
  });

  test("shows its key in no argument, no variable, no output and no file with a name, also while it is read", async () => {
    const { server, repository, credentials } = await shopBySsh({ held: true });
    const importer = await openImporter({ credentials, knownHosts: server.knownHosts });
    const importing = importer.import({ url: repository.url });
    await server.asked();
    const shown = () =>
      readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name))
        .flatMap((pid) => ["cmdline", "environ"].map((name) => readIfThere(`/proc/${pid}/${name}`)));
    const own = `IdentityFile=/proc/${process.pid}/`;
    expect(shown().filter((text) => text.startsWith("ssh\0") && text.includes(own)).length).toBe(1);
    const secret = credentials
      .split("\n")
      .slice(1, -2)
      .map((line) => line.slice(0, 60));
    const leaks = (texts: readonly string[]) => texts.filter((text) => secret.some((line) => text.includes(line)));
    expect(leaks(shown())).toEqual([]);
    expect(leaks(filesBelow(importer.dir))).toEqual([]);
    await server.release();
    const { git } = await importing;
    expect(leaks([JSON.stringify({ ...git, commits: [] }), ...filesBelow(importer.dir)])).toEqual([]);
    expect(openFiles()).toEqual([]);
  });

  test("ends with its import while the server says nothing", async () => {
    const { server, repository, credentials } = await shopBySsh({ held: true });
    const importer = await openImporter({ credentials, knownHosts: server.knownHosts });
    const stop = new AbortController();
    const importing = importer.execute({ url: repository.url, stop: stop.signal });
    await server.asked();
    stop.abort(new Error("no more"));
    const { ending } = await importing;
    expect(ending.detail).toContain("no more");
    expect(openFiles()).toEqual([]);
  });
});

/** Files without a name that this process still holds. */
function openFiles(): string[] {
  const links = readdirSync("/proc/self/fd").map((fd) =>
    execFileSync("readlink", ["-n", `/proc/${process.pid}/fd/${fd}`]),
  );
  return links.map(String).filter((path) => path.includes("/open-"));
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // the process has ended just now
  }
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1"));
}
