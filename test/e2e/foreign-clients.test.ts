import { execFile, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { project, startFarm, type TestFarm } from "../support/farm.ts";

const root = resolve(import.meta.dirname, "../..");
const buf = resolve(root, "node_modules/.bin/buf");
const run = promisify(execFile);

const works = (program: string, ...args: string[]) => spawnSync(program, args, { stdio: "ignore" }).status === 0;
/** Debian's Python has grpcio from packages; another one that comes first on the PATH may not. */
const python = ["python3", "/usr/bin/python3"].find((program) => works(program, "-c", "import grpc, grpc_tools"));
const hasCurl = works("curl", "--version");

let farm: TestFarm;
beforeAll(async () => {
  farm = await startFarm({ agents: 1 });
});
afterAll(() => farm.remove());

const source = () =>
  project({
    "millrace.yaml": `name: foreign
stages:
  build:
    tasks:
      hello: { run: "cat who.txt; test -x tool.sh", cache: false }
`,
    "who.txt": "hello from a tar\n",
    "tool.sh": "#!/bin/sh\n",
  });

describe("clients that know nothing but the protocol", () => {
  it.skipIf(python === undefined)(
    "in Python submit a tar, follow its log, and learn the outcome, in 60 lines",
    async () => {
      const client = resolve(root, "examples/python/submit.py");
      expect(readFileSync(client, "utf8").trim().split("\n").length).toBeLessThanOrEqual(60);
      const dir = source();
      await run("chmod", ["+x", resolve(dir, "tool.sh")]);
      const env = { ...process.env, MILLRACE_ADDRESS: farm.grpc, MILLRACE_TOKEN: farm.token };
      const { stdout } = await run(python ?? "", [client, dir], { env });
      expect(stdout).toMatch(/^hello from a tar\nrun_\d+: RUN_STATUS_SUCCEEDED\n$/);
    },
  );

  it("list the services by reflection, and call one without having its schema", async () => {
    const token = `authorization: Bearer ${farm.token}`;
    const curl = (...args: string[]) =>
      run(buf, [
        "curl",
        "--protocol",
        "grpc",
        "--http2-prior-knowledge",
        "--reflect-header",
        token,
        "-H",
        token,
        ...args,
      ]);
    const { stdout: services } = await curl("--list-services", `http://${farm.grpc}`);
    expect(services.trim().split("\n")).toEqual(
      expect.arrayContaining([
        "millrace.v1.RunService",
        "millrace.v1.LogService",
        "build.bazel.remote.execution.v2.ContentAddressableStorage",
        "grpc.health.v1.Health",
      ]),
    );
    const { stdout } = await curl("-d", "{}", `http://${farm.grpc}/millrace.v1.AgentService/ListAgents`);
    expect(JSON.parse(stdout)).toMatchObject({ agents: [{ info: { id: "agent-1" }, state: "AGENT_STATE_ONLINE" }] });
  });

  it.skipIf(!hasCurl)("post JSON with curl to the same services over HTTP", async () => {
    const dir = source();
    await run("chmod", ["+x", resolve(dir, "tool.sh")]);
    const { run: name } = await farm.run(dir);
    const post = (method: string, body: unknown, token = farm.token) =>
      run("curl", [
        ...["-sS", "-w", "\n%{http_code}", "-H", "content-type: application/json"],
        ...["-H", `authorization: Bearer ${token}`, "-d", JSON.stringify(body), `${farm.http}/millrace.v1.${method}`],
      ]).then(({ stdout }) => {
        const [body = "", status = ""] = stdout.split(/\n(?=\d+$)/);
        return { status: Number(status), body: JSON.parse(body) };
      });
    expect(await post("RunService/GetRun", { run: name })).toMatchObject({
      status: 200,
      body: { run: { name, status: "RUN_STATUS_SUCCEEDED" } },
    });
    expect(await post("RunService/GetRun", { run: "run_999" })).toMatchObject({
      status: 404,
      body: { code: "not_found" },
    });
    expect(await post("RunService/ListRuns", {}, "wrong")).toMatchObject({
      status: 401,
      body: { code: "unauthenticated" },
    });
  });
});
