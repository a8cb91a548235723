import { chmodSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ownNode } from "../../../agent/tools/own-node.ts";
import { probeTool, stampOf } from "../../../agent/tools/probe-tool.ts";
import { openTools } from "../../../agent/tools/tools.ts";
import { limits } from "../../../shared/limits.ts";
import { ownNodeTool } from "../../../shared/pipeline/own-node-tool.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { tempDir } from "../../support/temp-dir.ts";

/** Writes a program in one step, as package managers do. */
function install(folder: string, name: string, script: string): void {
  writeFileSync(join(folder, `${name}.new`), `#!/bin/sh\n${script}\n`);
  chmodSync(join(folder, `${name}.new`), 0o755);
  renameSync(join(folder, `${name}.new`), join(folder, name));
}

test("a tool is known by what it says of its version, on either stream, and by its executable", async () => {
  const folder = tempDir();
  install(folder, "gcc", "echo 'gcc (Debian 12.2.0-14) 12.2.0'");
  install(folder, "java", `[ "$1" = -version ] && echo 'openjdk version "17.0.9" 2023-10-17' >&2`);
  install(folder, "mute", "exit 1");
  const path = `/nonexistent:${folder}`;
  const gcc = await probeTool("gcc", path);
  expect(gcc).toMatchObject({ name: "gcc", version: "12.2.0", path: join(folder, "gcc") });
  expect(gcc?.fingerprint).toMatch(/^12\.2\.0@[0-9a-f]{16}$/);
  expect(await probeTool("java", path)).toMatchObject({ version: "17.0.9" });
  const mute = await probeTool("mute", path);
  expect(mute?.version).toBe("unknown");
  expect(await probeTool("nothing", path)).toBeUndefined();
  install(folder, "mute", "exit 2");
  expect((await probeTool("mute", path))?.fingerprint).not.toBe(mute?.fingerprint);
});

test("an agent that is told so looks for the tools that were named, and for no others", async () => {
  const folder = tempDir();
  install(folder, "node", "echo v24.1.0");
  install(folder, "squeeze", "echo 1.4.0");
  const rest = {
    path: folder,
    clock: fakeClock(),
    onChange: () => undefined,
    onError: (error: Error) => expect.unreachable(error.message),
  };
  for (const [onlyNamed, names] of [
    [true, ["squeeze"]],
    [false, ["node", "squeeze"]],
  ] as const) {
    const tools = await openTools({ ...rest, named: ["squeeze"], onlyNamed });
    expect(tools.list().map(({ name }) => name)).toEqual(names);
    tools.close();
  }
});

test("a replaced, removed or relinked tool is noticed, at the latest at the next look", async () => {
  const folder = tempDir();
  install(folder, "node-24", "echo v24.1.0");
  install(folder, "node-25", "echo v25.0.0");
  symlinkSync("node-24", join(folder, "node"));
  const clock = fakeClock();
  const changes: string[] = [];
  let changed = (): void => {};
  const tools = await openTools({
    ...{ named: [], path: folder, clock },
    onChange() {
      changes.push(
        tools
          .list()
          .map(({ version }) => version)
          .join(),
      );
      changed();
    },
    onError: (error) => expect.unreachable(error.message),
  });
  onTestFinished(() => tools.close());
  const nextChange = () => new Promise<void>((resolve) => (changed = resolve));
  const [first] = tools.list();
  expect(first).toMatchObject({ name: "node", version: "24.1.0", path: join(folder, "node-24") });
  const mark = first?.fingerprint ?? "";
  expect(tools.isCurrent("node", mark)).toBe(true);
  expect(tools.isCurrent("npm", mark)).toBe(false);

  rmSync(join(folder, "node"));
  symlinkSync("node-25", join(folder, "node"));
  expect(tools.isCurrent("node", mark)).toBe(false);
  const relinked = nextChange();
  clock.advance(limits.toolCheckMs);
  await relinked;
  expect(tools.isCurrent("node", tools.list()[0]?.fingerprint ?? "")).toBe(true);
  rmSync(join(folder, "node"));
  expect(tools.isCurrent("node", tools.list()[0]?.fingerprint ?? "")).toBe(false);
  expect(changes).toEqual(["25.0.0"]);
});

test("the Node of the agent is one of its tools as long as its file is the one that it started from", async () => {
  const own = ownNode();
  expect(own).toMatchObject({ name: ownNodeTool, version: process.versions.node, path: process.execPath });
  const folder = tempDir();
  install(folder, "node", "echo v1.2.3");
  const path = join(folder, "node");
  const of = { path: folder, clock: fakeClock(), onChange: () => undefined, named: [], onlyNamed: true };
  const onError = (error: Error) => expect.unreachable(error.message);
  const copy = { ...own, name: ownNodeTool, version: "1.2.3", fingerprint: "f", path, stamp: stampOf(path) ?? "" };
  const tools = await openTools({ ...of, onError, own: copy });
  onTestFinished(() => tools.close());
  expect(tools.list()).toEqual([copy]);
  expect([tools.isCurrent(ownNodeTool, "f"), tools.isCurrent(ownNodeTool, "g")]).toEqual([true, false]);
  rmSync(path);
  install(folder, "node", "echo v1.2.4");
  expect(tools.isCurrent(ownNodeTool, "f")).toBe(false);
});
