import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { cliEnvironment, startFarm, type TestFarm } from "../support/farm.ts";
import { repositoryRoot } from "../support/source-files.ts";
import { tempDir } from "../support/temp-dir.ts";

let farm: TestFarm;
beforeAll(async () => {
  farm = await startFarm({ agents: 1, slots: 2, env: { MILLRACE_ONLY_NAMED_TOOLS: "false" } });
});
afterAll(() => farm.remove());

/** A block of the guide: commands, or what the ones before it come to. */
interface Block {
  readonly kind: string;
  readonly text: string;
}

function blocksOf(guide: string): Block[] {
  return [...guide.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, kind = "", text = ""]) => ({ kind, text }));
}

/** Times and widths differ from run to run. */
function plain(text: string): string[] {
  const lines = text.replaceAll(/\d+(\.\d+)? (ms|s|min)\b/g, "T").split("\n");
  return lines.map((line) => line.replaceAll(/\s+/g, " ").trim()).filter((line) => line !== "");
}

it("every command in the guide to the first pipeline does what the guide says", async () => {
  const blocks = blocksOf(readFileSync(join(repositoryRoot, "docs/guides/first-pipeline.md"), "utf8"));
  const commands = blocks.filter(({ kind }) => kind === "sh");
  expect(commands.length).toBeGreaterThan(8);
  const end = "== end of a block ==";
  // The farm of this test is that of `millrace up`, on ports of its own.
  const script = [
    'millrace() { case "$1" in up | down) return ;; esac; command millrace "$@"; }',
    ...commands.map(({ text }) => `${text}echo '${end}'`),
  ].join("\n");
  const env = {
    ...cliEnvironment(tempDir()),
    PATH: `${join(repositoryRoot, "bin")}:${process.env["PATH"]}`,
    MILLRACE_ADDRESS: farm.grpc,
    MILLRACE_TOKEN: farm.token,
  };
  const { stdout } = await promisify(execFile)("sh", ["-ec", script], { cwd: tempDir(), env, maxBuffer: 1 << 20 });
  const said = stdout.split(`${end}\n`);

  let last = -1;
  for (const { kind, text } of blocks) {
    if (kind === "sh") last += 1;
    // What init wrote stands there whole; of the rest, the lines that are shown.
    else if (kind === "yaml") expect(said[last]).toContain(text);
    else
      expect(plain(said[last] ?? "").join("\n")).toSatisfy(
        (all: string) => plain(text).every((line) => all.includes(line)),
        `${text}\nin\n${said[last]}`,
      );
  }
});
