import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  checkKnownHosts,
  checkRef,
  isCommitId,
  parseRepository,
  withoutCredentials,
} from "../../../../shared/source/repository.ts";

describe("the keys of hosts", () => {
  const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
  test.each([
    `github.com ${key}`,
    `# a comment\r\n\r\n[127.0.0.1]:2222,git.example.org ${key} who it is\r\n`,
    `|1|JfKTdBh7rNbXkVAQCRp4OQoPfmI=|USECr3SWf1JUPsms5AqfD5QfxkM= ecdsa-sha2-nistp256 AAAAE2Vj=\n`,
    `@cert-authority *.example.org ${key}\n@revoked * ${key}`,
  ])("%j are read", (text) => {
    expect(() => checkKnownHosts(text)).not.toThrow();
  });

  test.each([
    ["# nothing\n", "no line of it"],
    ["-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n", "line 1 is no host"],
    [key, "line 1 is no host"],
    [`github.com ${key}\ngithub.com`, "line 2 is no host"],
    [`github.com ${key}\n`.repeat(500), "longer than 32768 bytes"],
  ])("%j are refused, and not repeated", (text, why) => {
    expect(() => checkKnownHosts(text)).toThrow(why);
    expect(() => checkKnownHosts(text)).not.toThrow("b3Blb");
  });
});

describe("the address of a repository", () => {
  test.each([
    ["https://git.example.org/shop.git", "http"],
    ["http://127.0.0.1:8080/a/b", "http"],
    ["ssh://git@git.example.org:2222/shop.git", "ssh"],
    ["git@git.example.org:shop.git", "ssh"],
    ["git@[fe80::1]:a/shop.git", "ssh"],
    ["git@git.example.org:/srv/shop.git", "ssh"],
    ["/srv/git/shop.git", "path"],
  ])("%s is read", (url, kind) => {
    expect(parseRepository(url)).toEqual({ kind, url });
  });

  test.each([
    ["", "no address"],
    ["git.example.org:shop.git", "user@host:path"],
    ["git@-oProxyCommand=x:y", "user@host:path"],
    ["-oProxyCommand=x@host:y", "user@host:path"],
    ["git@example.org:--upload-pack=x", "user@host:path"],
    ["git:secret@example.org:x", "user@host:path"],
    ["git@host::x", "user@host:path"],
    ["file:///srv/git", "no https:"],
    ["ext::sh -c true", "spaces"],
    ["ext::true", "no https:"],
    ["--upload-pack=true", "no https:"],
    ["../shop.git", "no https:"],
    ["/srv/../etc", '".."'],
    ["https://user:secret@example.org/x", "credentials"],
    ["https://token@example.org/x", "credentials"],
    ["ssh://git:secret@example.org/x", "credentials"],
    ["ssh://-oProxyCommand=x/y", "no host"],
    ["ssh://%2DoProxyCommand=x/y", "no host"],
    ["ssh://-l@example.org/y", "no host"],
    ["https://example.org/x\nhost", "spaces"],
    ["https://example.org/x?service=y", "query"],
    [`https://example.org/${"x".repeat(2_000)}`, "characters"],
  ])("%s is refused", (url, why) => {
    expect(() => parseRepository(url)).toThrow(why);
  });

  test("credentials are in no message and in no address that was cleaned", () => {
    expect(() => parseRepository("https://user:s3cret@example.org/x")).toThrow(/^(?!.*s3cret).*$/);
    expect(withoutCredentials("https://user:s3cret@example.org/x.git")).toBe("https://example.org/x.git");
    expect(withoutCredentials("ssh://git:s3cret@example.org/x.git")).toBe("ssh://git@example.org/x.git");
    expect(withoutCredentials("git@example.org:x.git")).toBe("git@example.org:x.git");
  });

  test("whatever is let through has a scheme that git asks the network with, or is an absolute path", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.webUrl(),
          fc.string().map((text) => `ssh://${text}`),
          fc.tuple(fc.string(), fc.string()).map(([host, path]) => `git@${host}:${path}`),
        ),
        (url) => {
          try {
            parseRepository(url);
          } catch {
            return; // refused
          }
          expect(url).toMatch(/^(https?:\/\/|ssh:\/\/|\/|[^-@:/]+@[^-@/])[^\s]+$/);
        },
      ),
    );
  });
});

describe("a ref", () => {
  test.each(["main", "topic/x", "v1.2.3", "refs/pull/7/head", "a".repeat(40), "ümlaut"])("%s is a name", (ref) => {
    expect(() => checkRef(ref)).not.toThrow();
  });

  test.each([
    "",
    "-x",
    "--upload-pack=x",
    "a..b",
    "a b",
    "a~1",
    "a^",
    "a:b",
    "a*",
    "a?",
    "a[",
    "a\\b",
    "@",
    "a@{1}",
    "/a",
    "a/",
    "a//b",
    ".a",
    "a/.b",
    "a.",
    "a.lock",
    "a\u0000b",
    "x".repeat(256),
  ])("%j is none", (ref) => {
    expect(() => checkRef(ref)).toThrow("is no name");
  });

  test("a commit is named by all of its digits alone", () => {
    expect([40, 64, 39, 41, 7].map((length) => isCommitId("a".repeat(length)))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
    expect(isCommitId("A".repeat(40))).toBe(false);
  });
});
