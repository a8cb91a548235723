import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cliEnvironment, project, startFarm, type TestFarm } from "../support/farm.ts";
import { millrace } from "../support/program.ts";
import { filesWithLeaks, leaksIn, secretCorpus, tracesOf } from "../support/secret-corpus.ts";
import { tempDir } from "../support/temp-dir.ts";

let farm: TestFarm;
beforeAll(async () => {
  farm = await startFarm({ agents: 1, slots: 2 });
});
afterAll(() => farm.remove());

const corpus = secretCorpus();
const nameOf = (variable: string) => variable.toLowerCase().replaceAll("_", "-");
const pidOf = (part: string): number =>
  (JSON.parse(readFileSync(join(farm.dataDir, "pids", `${part}.json`), "utf8")) as { pid: number }).pid;

async function json<T>(...args: string[]): Promise<T> {
  const { stdout, stderr } = await farm.cli([...args, "--json"]);
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as T;
}

/** From standard input, as a script does. */
async function setByPipe(name: string, value: string): Promise<string> {
  const args = ["secret", "set", name, "--address", farm.grpc, "--token", farm.token];
  const child = spawn(millrace, args, { env: cliEnvironment(tempDir()), stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(value);
  const [said] = await Promise.all([text(child.stdout), once(child, "close")]);
  return said;
}

function fileWith(value: string): string {
  const file = join(tempDir(), "value");
  writeFileSync(file, value);
  return file;
}

/** The task makes it from what is written backwards. */
const made = "made-at-run-time_0123456789";
const pipeline = `name: publish
stages:
  release:
    tasks:
      publish:
        run: |
${Object.keys(corpus)
  .flatMap((name) => [
    `echo "${name}: $${name}"`,
    `printf %s "$${name}" | base64`,
    `printf 'x%s' "$${name}" | base64 -w 0; echo`,
  ])
  .map((line) => `          ${line}`)
  .join("\n")}
          cat "$KEY_FILE"
          made=$(echo ${made.split("").reverse().join("")} | rev); echo "$made" >> "$MILLRACE_MASK"
          echo "made: $made"; printf %s "$made" | base64
          echo published
        secrets:
${Object.keys(corpus)
  .map((name) => `          ${name}: ${nameOf(name)}`)
  .join("\n")}
          KEY_FILE: { secret: private-key, file: true }
`;

describe("the secrets of a project", () => {
  it("are waited for, given to the task, and seen nowhere else", async () => {
    const { run } = await json<{ run: string }>("run", project({ "millrace.yaml": pipeline }), "--detach");
    const follower = farm.startCli(["logs", run, "--follow"]);
    type Why = { waiting: { code: string; detail: string }[] };
    await expect
      .poll(async () => (await json<Why>("why", run)).waiting, { timeout: 20_000 })
      .toMatchObject([{ code: "secret", detail: expect.stringContaining("millrace secret set private-key") }]);
    for (const [variable, value] of Object.entries(corpus)) {
      if (variable === "TOKEN") expect(await setByPipe("token", value)).toBe("secret token has value number 1\n");
      else expect((await farm.cli(["secret", "set", nameOf(variable), "--file", fileWith(value)])).status).toBe(0);
    }
    const { stdout } = await follower.result;
    expect(stdout).toContain("published");
    expect(stdout).toMatch(/TOKEN: \*{21}/);
    expect(stdout).toMatch(/made: \*{27}$/m);
    const stored = await farm.cli(["logs", run]);
    const shown = await json<{ status: string }>("show", run);
    expect(shown.status).toBe("succeeded");

    const traces = [...Object.values(corpus), made].flatMap(tracesOf);
    for (const said of [stdout, stored.stdout, JSON.stringify(shown)])
      expect(leaksIn(Buffer.from(said), traces)).toEqual([]);
    // Database with events, logs, stores of coordinator and agents, and what all of them said.
    expect(filesWithLeaks(farm.dataDir, traces, () => false)).toEqual([]);
    expect(leaksIn(readFileSync(join(farm.dataDir, "coordinator", "secret.key")), traces)).toEqual([]);
  });

  it("in an artifact are said of each run that has it, also where it comes from the cache", async () => {
    await farm.cli(["secret", "set", "leaked", "--file", fileWith("a-value-in-an-artifact")]);
    const task = `{ run: 'printf %s "$P" > out', outputs: { o: out }, secrets: { P: leaked } }`;
    const source = project({ "millrace.yaml": `name: leak\nstages:\n  a: { tasks: { b: ${task} } }\n` });
    for (const cached of [false, true]) {
      const { run, tasks } = await farm.run(source);
      expect(tasks).toMatchObject([{ status: "succeeded", cached }]);
      expect((await farm.cli(["show", run])).stdout).toContain(
        "warning: a/b: the output out contains the secret leaked\n",
      );
    }
  });

  it("count with their newest value, and apart from those of another project", async () => {
    const source = project({ "millrace.yaml": checking("first-value-of-it") });
    await farm.cli(["secret", "set", "password", "--file", fileWith("first-value-of-it")]);
    expect((await farm.run(source)).status).toBe("succeeded");
    // Cached: a new value does not run it again.
    await farm.cli(["secret", "set", "password", "--file", fileWith("second-value-of-it")]);
    expect((await farm.run(source)).tasks.map(({ cached }) => cached)).toEqual([true]);
    expect((await farm.run(project({ "millrace.yaml": checking("second-value-of-it") }))).status).toBe("succeeded");
    const { secrets } = await json<{ secrets: { name: string; generation: number }[] }>("secret", "list");
    expect(secrets.find(({ name }) => name === "password")).toMatchObject({ generation: 2 });
    expect((await json<{ secrets: unknown[] }>("secret", "list", "--project", "other")).secrets).toEqual([]);
  });

  it("are not taken from the command line, and a short one is warned about", async () => {
    const refused = await farm.cli(["secret", "set", "pin", "1234"]);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain("printf %s");
    const short = await farm.cli(["secret", "set", "pin", "--file", fileWith("1234")]);
    expect(short.stderr).toContain("warning: pin, or a line of it, has fewer than 8 characters");
    expect((await farm.cli(["secret", "rm", "pin"])).status).toBe(0);
    expect((await farm.cli(["secret", "rm", "pin"])).status).not.toBe(0);
  });

  it("outlive their key's rotation, and a coordinator without the key says what it wants", async () => {
    const { keyId } = await json<{ keyId: string }>("secret", "rotate-key");
    expect((await farm.run(project({ "millrace.yaml": checking("second-value-of-it") }))).status).toBe("succeeded");
    const key = join(farm.dataDir, "coordinator", "secret.key");
    renameSync(key, `${key}.away`);
    process.kill(pidOf("coordinator"), "SIGKILL");
    await farm.problem(/coordinator.*(ended|killed|again|SIGKILL)/);
    const log = join(farm.dataDir, "logs", "coordinator.log");
    await expect.poll(() => readFileSync(log, "utf8"), { timeout: 30_000 }).toContain(`under the key ${keyId}, and`);
    expect(readdirSync(join(farm.dataDir, "coordinator"))).not.toContain("secret.key");
    renameSync(`${key}.away`, key);
    await expect.poll(async () => (await farm.cli(["runs"])).status, { timeout: 30_000 }).toBe(0);
    const back = await farm.run(project({ "millrace.yaml": checking("second-value-of-it", "again") }));
    expect(back.status).toBe("succeeded");
  });
});

/** Fails unless the secret has this value. */
function checking(value: string, more = ""): string {
  const sum = [...value].join("-");
  return `name: check
stages:
  check:
    tasks:
      check:
        run: 'test "$(printf %s "$PASSWORD" | sed "s/./&-/g")" = "${sum}-" ${more === "" ? "" : `&& : ${more}`}'
        secrets: { PASSWORD: password }
`;
}
