import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Service } from "../../../shared/pipeline/pipeline.ts";
import { argumentsOf, servicesFailed } from "../../../shared/pipeline/services.ts";
import { tempDir } from "../../support/temp-dir.ts";

const server = (code: string) => `exec "${process.execPath}" -e '${code}'`;
/** Answers on its own free port after it said so; \`where\` is a folder in which it leaves a file when it is told to end. */
const web = server(
  'const s=require("http").createServer((q,a)=>{a.statusCode=q.url==="/bad"?500:200;a.end("hello")});' +
    's.listen(Number(process.env.MILLRACE_PORT_WEB),"127.0.0.1",()=>console.log("up as",process.env.WHO));' +
    'process.on("SIGTERM",()=>{require("fs").writeFileSync("web-ended","");process.exit(0)})',
);

function service(name: string, run: string, more: Partial<Service> = {}): Service {
  return { name, run, ready: {}, timeoutMs: 20_000, env: {}, ...more };
}

/** Runs a task with services as an agent does, but for the sandbox. */
function start(run: string, services: readonly Service[]) {
  const dir = tempDir();
  const tmp = tempDir();
  const [program = "", ...args] = argumentsOf({ run, services });
  const env = { PATH: process.env.PATH, TMPDIR: tmp };
  const child: ChildProcess = spawn(program, args, { cwd: dir, env, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stdout?.on("data", (data: Buffer) => (log += data.toString()));
  child.stderr?.on("data", (data: Buffer) => (log += data.toString()));
  const ended = once(child, "close").then(([status, signal]) => ({ status, signal, log, dir }));
  const said = async (text: string) => {
    while (!log.includes(text)) await Promise.race([once(child.stdout ?? child, "data"), ended]);
  };
  return { child, dir, tmp, said, ended };
}

test("a task begins when its services are ready, reaches them, and they end with it", async () => {
  const ask = `"${process.execPath}" -e 'fetch("http://127.0.0.1:"+process.env.MILLRACE_PORT_WEB).then(r=>r.text()).then(console.log)'`;
  const ready = { http: "http://127.0.0.1:$MILLRACE_PORT_WEB/health" };
  const db = service("my-db", "echo begins; sleep 600 & wait", { ready: { exec: "true" } });
  const { ended, tmp } = start(`${ask}\nexit 3`, [db, service("web", web, { ready, env: { WHO: "it's me" } })]);
  const { status, log, dir } = await ended;
  expect(log.split("\n").toSorted()).toEqual(["", "[my-db] begins", "[web] up as it's me", "hello"].toSorted());
  expect(log.indexOf("[web] up")).toBeLessThan(log.indexOf("hello"));
  expect(status).toBe(3);
  expect(existsSync(join(dir, "web-ended"))).toBe(true);
  expect(readdirSync(tmp)).toEqual([]);
});

test("a service that is ready when its own free port is listened on is told the port", async () => {
  const { ended } = start("echo done", [service("web", web, { ready: { tcp: "auto" }, env: { WHO: "x" } })]);
  expect(await ended).toMatchObject({ status: 0, log: "[web] up as x\ndone\n" });
});

test("a service that dies before it is ready fails the task with its status, and the script does not run", async () => {
  const { ended } = start("echo ran", [service("db", "echo no disk >&2; exit 7", { ready: { tcp: "auto" } })]);
  const { status, log } = await ended;
  expect(status).toBe(servicesFailed);
  expect(log).toContain("[db] no disk\n");
  expect(log).toContain("services: db ended with status 7 before it was ready\n");
  expect(log).not.toContain("ran");
});

test("a service that is never ready fails the task after its time-out, and says what was missing", async () => {
  const never = [
    [{ tcp: "auto" }, /nothing listens on port \d+/],
    [{ http: "http://127.0.0.1:$MILLRACE_PORT_WEB/bad" }, /http:\/\/127.0.0.1:\d+\/bad does not answer/],
    [{ exec: "false" }, /its check fails/],
  ] as const;
  for (const [ready, sought] of never) {
    const run = "http" in ready ? web : "sleep 600";
    const { ended } = start("echo ran", [service("web", run, { ready, timeoutMs: 1_000 })]);
    const { status, log } = await ended;
    expect(status).toBe(servicesFailed);
    expect(log).toMatch(/services: web was not ready after 1 s: /);
    expect(log).toMatch(sought);
    expect(log).not.toContain("ran");
  }
});

test("a service that dies while the task runs is said in the log; the task's own status counts", async () => {
  const { dir, said, ended } = start("touch go; while [ ! -e told ]; do sleep 0.01; done; exit 4", [
    service("db", "while [ ! -e go ]; do sleep 0.01; done; exit 9"),
  ]);
  await said("ended by itself");
  writeFileSync(join(dir, "told"), "");
  const { status, log } = await ended;
  expect(status).toBe(4);
  expect(log).toContain("[db] ended by itself with status 9\n");
});

test("a fixed port that is taken is said before the service starts", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  const address = other.address();
  const port = typeof address === "object" ? String(address?.port) : "";
  const { ended } = start("echo ran", [service("db", "echo started; sleep 600", { ready: { tcp: port } })]);
  const { status, log } = await ended;
  expect(status).toBe(servicesFailed);
  expect(log).toBe(
    `services: port ${port} of db is taken on this machine; let it listen on $MILLRACE_PORT_DB and be ready at tcp: auto\n`,
  );
  other.close();
  await once(other, "close");
});

test("who is told to end ends its task and its services, also those that ignore it", async () => {
  const stubborn = service("db", "trap '' TERM; echo up; while :; do sleep 1; done");
  const { child, said, ended } = start("trap 'echo told; exit 5' TERM; echo runs; while :; do sleep 0.05; done", [
    service("web", web, { ready: { tcp: "auto" } }),
    stubborn,
  ]);
  await said("runs");
  child.kill("SIGTERM");
  const { status, log, dir } = await ended;
  expect(status).toBe(5);
  expect(log).toContain("told");
  expect(existsSync(join(dir, "web-ended"))).toBe(true);
});

test("a task without services is its script and nothing else", () => {
  expect(argumentsOf({ run: "make", services: [] })).toEqual(["/bin/sh", "-e", "-c", "make"]);
});
