import { expect, test } from "vitest";
import { Refused } from "../../../../agent/executor/executor.ts";
import { parseCommits } from "../../../../agent/source/describe-commit.ts";
import { describeGitFailure, NoSuchObject } from "../../../../agent/source/git-failure.ts";
import { isDiskFull } from "../../../../shared/errors.ts";

const failure = (said: string, command = "fetch") => describeGitFailure(command, said, "status 128");

test.each([
  "fatal: Authentication failed for 'https://example.org/x.git/'",
  "fatal: could not read Username for 'https://example.org': terminal prompts disabled",
  "fatal: unable to access 'https://example.org/x.git/': The requested URL returned error: 403",
  "git@example.org: Permission denied (publickey).\nfatal: Could not read from remote repository.",
  "remote: Repository not found.\nfatal: repository 'https://example.org/x.git/' not found",
  "fatal: transport 'ext' not allowed",
  "Host key verification failed.\nfatal: Could not read from remote repository.",
  "fatal: unable to access 'https://example.org/x.git/': The requested URL returned error: 301",
  "fatal: dumb http transport does not support shallow capabilities",
])("%s is for no agent to mend", (said) => {
  expect(failure(said)).toBeInstanceOf(Refused);
});

test.each([
  "fatal: unable to access 'https://example.org/x.git/': Could not resolve host: example.org",
  "ssh: connect to host example.org port 22: Connection timed out\nfatal: Could not read from remote repository.",
  "error: RPC failed; curl 18 transfer closed\nfatal: early EOF",
  "fatal: unable to access 'https://example.org/x.git/': The requested URL returned error: 503",
])("after %s another try may help", (said) => {
  expect(failure(said).code).toBe("unavailable");
});

test("what the remote does not have, a full disk and a damaged mirror are told apart", () => {
  expect(failure("fatal: couldn't find remote ref refs/heads/x")).toBeInstanceOf(NoSuchObject);
  expect(failure("fatal: remote error: upload-pack: not our ref aaaa")).toBeInstanceOf(NoSuchObject);
  expect(isDiskFull(failure("fatal: write error: No space left on device"))).toBe(true);
  expect(failure("fatal: Unable to create '/m/shallow.lock': File exists.").code).toBe("data_loss");
  // A command that knows the mirror alone cannot have been refused by a remote.
  expect(failure("fatal: permission denied", "log").code).toBe("data_loss");
});

test("what a remote says cannot steer a terminal, and is cut", () => {
  const { message } = failure(`remote: \u001b[2J${"x".repeat(10_000)}\nfatal: something`);
  expect(message).not.toMatch(/\p{Cc}/u);
  expect(message.length).toBeLessThan(2_200);
});

test("commits are read as they were printed, with odd authors and subjects", () => {
  const printed = `${"a".repeat(40)}\nÄnn  O'Author\nann@example.org\n1700000000\nfix: \u001b[31mred\0${"b".repeat(40)}\n\n\n0\n\0`;
  expect(parseCommits(Buffer.from(printed))).toMatchObject([
    {
      commit: "a".repeat(40),
      authorName: "Änn  O'Author",
      authorTime: { seconds: 1700000000n },
      subject: "fix: \u001b[31mred",
    },
    { commit: "b".repeat(40), authorName: "", authorEmail: "", subject: "" },
  ]);
});
