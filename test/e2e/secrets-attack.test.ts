import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { LogService } from "../../proto/gen/millrace/v1/log_pb.ts";
import { RunService } from "../../proto/gen/millrace/v1/run_pb.ts";
import { SecretService } from "../../proto/gen/millrace/v1/secret_pb.ts";
import { grpcTransport } from "../../shared/rpc/grpc-transport.ts";
import { project, startFarm, type TestFarm } from "../support/farm.ts";
import { bubblewrapWorks } from "../support/machine.ts";
import { millrace } from "../support/program.ts";
import { bordersOf, casesOf, failuresOf } from "./fixtures/secrets-attack.ts";
import { acrossNames, endings, errorNames, forms, hold, spy } from "./fixtures/secrets-attack-pipeline.ts";
import { only, smallNames, tracesBelow, tracesIn, values } from "./fixtures/secrets-attack-values.ts";

// Written from the contract in docs/guides/secrets.md, not from the code that keeps it: whatever is promised there and does
// not hold fails here.

let farm: TestFarm;
let transport: ReturnType<typeof grpcTransport>;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "millrace-attack-"));
  const program = join(folder, "millrace");
  writeFileSync(program, `#!/bin/sh\nexec '${millrace}' "$@" 2>> '${folder}/said'\n`, { mode: 0o755 });
  farm = await startFarm({ agents: 1, slots: 4, program });
  transport = grpcTransport({ address: farm.grpc, token: farm.token });
  const secrets = createClient(SecretService, transport);
  for (const [name, value] of Object.entries(values)) await secrets.setSecret({ name: name.toLowerCase(), value });
});
afterAll(async () => {
  transport.close();
  await farm.remove();
  rmSync(folder, { recursive: true });
});

async function log(run: string, task: string, tryNumber = 0): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  const reading = createClient(LogService, transport).readLog({ run, task, try: tryNumber });
  for await (const { data } of reading) pieces.push(data);
  return Buffer.concat(pieces);
}

async function events(run: string): Promise<string> {
  const all: string[] = [];
  for await (const { event } of createClient(RunService, transport).watchRun({ run }))
    all.push(JSON.stringify(event, (_, value) => (typeof value === "bigint" ? String(value) : value)));
  return all.join("\n");
}

/** Tasks have some node that may not know types. */
function fixture(name: string): string {
  const text = readFileSync(join(import.meta.dirname, "fixtures", `secrets-${name}.ts`), "utf8");
  return stripTypeScriptTypes(text).replace("./secrets-attack.ts", "./attack.mjs");
}

/** What is readable in the folders of all processes. */
const processes = (file: "cmdline" | "environ") =>
  readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        return [{ pid: Number(pid), command, bytes: readFileSync(`/proc/${pid}/${file}`) }];
      } catch {
        return []; // It has ended since the folder was read.
      }
    });
const runs: string[] = [];

describe("what a task with secrets shows", () => {
  it("while it runs: nothing to other tasks and in arguments, and no beginning of a secret in its log", async () => {
    const { stdout } = await farm.cli(["run", project({ "millrace.yaml": hold }), "--detach", "--json"]);
    const { run } = JSON.parse(stdout) as { run: string };
    runs.push(run);
    const following = createClient(LogService, transport).readLog({ run, task: "hold/task", follow: true });
    for await (const { data } of following) if (Buffer.from(data).includes("holding\n")) break;

    expect(processes("cmdline").flatMap(({ bytes }) => tracesIn(bytes))).toEqual([]);
    const holders = () => processes("environ").filter(({ bytes }) => tracesIn(bytes).length > 0);
    // Those of the task, and of its sandbox; the filters that it pipes a secret through end by themselves.
    const others = () => holders().filter(({ command }) => !/(bwrap|awk|sh|sleep)$/.test(command.split(" ")[0] ?? ""));
    await vi.waitFor(() => expect(others().map(({ command }) => command)).toEqual([]), { timeout: 10_000 });
    expect(holders()).not.toEqual([]);
    const backwards = Object.values(only(smallNames)).map((value) =>
      [...value.subarray(0, 9).toString("latin1")].reverse().join(""),
    );
    const seek = backwards.filter((text) => /^[!-~]{9}$/.test(text) && !/---|w{9}|kvk/.test(text));
    const spied = await farm.run(project({ "millrace.yaml": spy(farm.dataDir), seek: `${seek.join("\n")}\n` }));
    expect(spied.status).toBe("succeeded");
    if (bubblewrapWorks) expect((await log(spied.run, "spy/spy")).toString()).toBe("looked\n");

    expect((await log(run, "hold/task")).toString()).toBe("holding\n");
    await farm.cli(["cancel", run]);
    const rest = await events(run);
    expect(rest).toContain("runFinished");
    expect((await log(run, "hold/task")).toString()).toBe(`holding\n${"*".repeat(50)}`);
  });

  it("in what it prints: no form of the contract, however it is written", async () => {
    const files = { "attack.mjs": fixture("attack"), "attack-task.mjs": fixture("attack-task") };
    const { run, status } = await farm.run(project({ "millrace.yaml": forms, ...files }));
    runs.push(run);
    expect(status).toBe("succeeded");
    expect(failuresOf(casesOf(values), await log(run, "whole"))).toEqual([]);
    expect(failuresOf(casesOf(only(smallNames)), await log(run, "pieces"))).toEqual([]);
    expect(failuresOf(bordersOf(only(acrossNames)), await log(run, "across"))).toEqual([]);
    expect(failuresOf(casesOf(only(errorNames)), await log(run, "errors"))).toEqual([]);
  });

  it("however it ends: no secret in its log, and none in how it ended", async () => {
    const { stdout } = await farm.cli(["run", project({ "millrace.yaml": endings })]);
    expect(tracesIn(stdout)).toEqual([]);
    const run = /^(run_\d+) failed/m.exec(stdout)?.[1] ?? "";
    runs.push(run);
    const names = [...endings.matchAll(/^ {6}([\w-]+):$/gm)].map(([, name = ""]) => name);
    const shown = await Promise.all(
      names.map(async (name) => tracesIn(await log(run, name)).map((trace) => `${name}: ${trace}`)),
    );
    expect(shown.flat()).toEqual([]);
    expect((await log(run, "fails", 1)).toString()).toMatch(/^1 \*+\n\*{76}\n/);
    expect((await log(run, "late")).toString()).toBe(`late\n${"*".repeat(90)}`);
    expect((await log(run, "killed")).toString()).toBe(`\n${"*".repeat(40)}`);
    expect((await log(run, "done")).toString()).toBe(`${"*".repeat(21)}\n`);
    for (const name of ["bad-key", "bad-yaml", "named"])
      expect(stdout).toMatch(new RegExp(`^endings/${name} .*the tasks that it wrote contain the secret s_kebab`, "m"));
    expect(stdout).toMatch(/^endings\/writes .*the tasks that it wrote contain the secret s_words/m);
  });

  it("when all is over: nothing in what the farm says of it, and nothing on its disks", async () => {
    const said = await Promise.all([
      ...runs.flatMap((run) => [farm.cli(["show", run, "--json"]), farm.cli(["why", run, "--json"])]),
      ...[["secret", "list"], ["audit"], ["runs"]].map((words) => farm.cli([...words, "--json"])),
    ]);
    expect(said.map(({ status }) => status)).toEqual(said.map(() => 0));
    expect(said.flatMap(({ stdout }) => tracesIn(stdout))).toEqual([]);
    expect(tracesIn((await Promise.all(runs.map(events))).join("\n"))).toEqual([]);
    expect(tracesIn(readFileSync(join(folder, "said")))).toEqual([]);
    expect([...tracesBelow(farm.dataDir), ...tracesBelow("/dev/shm")]).toEqual([]);
  });
});
