import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import Database from "better-sqlite3";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { accessOf } from "../../coordinator/api/access.ts";
import { hasRight } from "../../coordinator/delivery/access/rights.ts";
import { AdminService, Role } from "../../proto/gen/millrace/v1/admin_pb.ts";
import { grpcTransport } from "../../shared/rpc/grpc-transport.ts";
import { parseToken } from "../../shared/rpc/token.ts";
import { type Called, calledMethods, everyCall, type Guesses } from "../support/every-call.ts";
import { startFarm, type TestFarm } from "../support/farm.ts";

// What an attacker with a token can get at: every method that the protocols declare, on both servers, asked about a run of
// another project, of which the attacker knows the name. Whatever else there is of that project is called hidden-something.

const pipeline = `name: theirs
stages:
  hidden-stage:
    tasks:
      hidden-task: { run: "echo hidden-output; mkdir out; echo hidden-bytes > out/it", outputs: { app: out/ } }
  gate:
    needs: [hidden-stage]
    manual: { title: hidden-title, approvers: [hidden-person, admin] }
`;

let farm: TestFarm;
let theirs = "";
const opened: { close(): void }[] = [];

beforeAll(async () => {
  farm = await startFarm({ agents: 1 });
  for (const name of ["mine", "yours"])
    await admin("project", "add", name, "--repo", `https://hidden.example/${name}.git`);
  await admin("project", "set", "mine", "--repo", "");
  const dir = join(farm.dataDir, "theirs");
  mkdirSync(dir);
  writeFileSync(join(dir, "value"), "hidden-value");
  await admin("secret", "set", "hidden-secret", "--project", "yours", "--file", join(dir, "value"));
  await admin("pools", "set", "p", "--provider", "exec", "--command", "/bin/false", "hidden-argument");
  writeFileSync(join(dir, "millrace.yaml"), pipeline);
  theirs = (await admin("run", dir, "--project", "yours", "--detach")).trim();
  await vi.waitFor(async () => expect(await admin("show", theirs)).toContain("binding"), 30_000);
  await admin("comment", theirs, "hidden-comment");
});
afterAll(async () => {
  for (const transport of opened) transport.close();
  await farm.remove();
});

async function admin(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await farm.cli(args);
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

/** A token of a person, bound to these projects or to none. */
async function token(role: Role, user: string, projects: string[] = []): Promise<string> {
  const { createToken } = createClient(AdminService, overGrpc(farm.token));
  return parseToken((await createToken({ role, user, projects })).secret).secret;
}

function overGrpc(secret?: string): Transport {
  const transport = grpcTransport({
    address: farm.grpc,
    ...(secret === undefined ? {} : { token: parseToken(secret).secret }),
  });
  opened.push(transport);
  return transport;
}

/** As a browser does it, in JSON; without streams of both sides, which HTTP/1.1 does not have. */
function overHttp(secret?: string): Transport {
  return createConnectTransport({
    ...{ baseUrl: farm.http, httpVersion: "1.1", useBinaryFormat: false },
    interceptors: [
      (next) => (request) => {
        if (secret !== undefined) request.header.set("authorization", `Bearer ${secret}`);
        return next(request);
      },
    ],
  });
}

const onHttp = calledMethods.filter(({ methodKind }) => methodKind !== "bidi_streaming");

/** What the attacker knows, or tries. */
const guesses = (): Guesses => ({
  ...{
    run: theirs,
    project: "yours",
    name: "yours",
    stage: "gate",
    artifact: "app",
    environment: "yours",
    id: "yours",
  },
  ...{ comment: "mine", text: "mine", reason: "mine" },
});

const nameOf = ({ method }: Called) => `${method.parent.typeName}/${method.name}`;
const refusals = new Set(["permission_denied", "unauthenticated"]);

/** All that calls can change, but for the audit, which tells of them, and for what the farm does by itself. */
function everything(): string {
  const database = new Database(join(farm.dataDir, "coordinator", "coordinator.db"), { readonly: true });
  try {
    const tables = ["secret", "token", "enrolment", "enrolment_token", "removed_agent", "pool", "run_summary"];
    const sql = "SELECT * FROM commits WHERE stream NOT LIKE 'audit/%' ORDER BY position";
    const all = [sql, ...tables.map((table) => `SELECT * FROM ${table}`)].map((query) => database.prepare(query).all());
    return JSON.stringify(all);
  } finally {
    database.close();
  }
}

it("whoever is bound to another project learns nothing of this one and changes nothing, by any call on either server", async () => {
  for (const role of [Role.VIEWER, Role.DEVELOPER, Role.APPROVER, Role.OPERATOR, Role.ADMIN]) {
    const secret = await token(role, "mallory", ["mine"]);
    const before = everything();
    const calls = await everyCall(overGrpc(secret), guesses());
    if (role === Role.DEVELOPER) {
      calls.push(...(await everyCall(overHttp(secret), guesses(), onHttp)));
      // Where nothing names a run or a project, what is in lists.
      calls.push(...(await everyCall(overGrpc(secret), { pipeline: "theirs" })));
    }
    expect(calls.filter(({ said }) => said.includes("hidden")).map((call) => [nameOf(call), call.said])).toEqual([]);
    expect(everything()).toBe(before);
  }
});

it("a viewer of the whole farm changes nothing, by any call on either server", async () => {
  const secret = await token(Role.VIEWER, "vera");
  const before = everything();
  const calls = [
    ...(await everyCall(overGrpc(secret), guesses())),
    ...(await everyCall(overHttp(secret), guesses(), onHttp)),
  ];
  expect(everything()).toBe(before);
  for (const call of calls) {
    const isRefused = call.code === "permission_denied";
    expect([nameOf(call), isRefused]).toEqual([
      nameOf(call),
      !hasRight("viewer", accessOf(call.method).right ?? "know"),
    ]);
  }
});

it("without a token there is no call, and no page says anything of what is built here", async () => {
  for (const transport of [overGrpc(), overHttp(), overHttp("mr_guess")]) {
    const passed = (await everyCall(transport, guesses(), onHttp)).filter(({ code }) => code !== "unauthenticated");
    expect(passed.map(nameOf)).toEqual([]);
  }
  for (const path of [
    "/",
    "/metrics",
    "/healthz",
    "/readyz",
    "/install.sh",
    "/dist/",
    "/schema/pipeline.json",
    `/${theirs}`,
  ]) {
    const page = await fetch(`${farm.http}${path}`);
    expect(await page.text(), path).not.toContain("hidden");
  }
});

it("the same calls by an admin of the farm are let in, and show what was hidden", async () => {
  const calls = await everyCall(overGrpc(farm.token), guesses());
  const refused = calls.filter(({ code }) => refusals.has(code));
  expect(
    refused.map(({ method }) => accessOf(method).right).filter((right) => right !== "execute" && right !== "enrol"),
  ).toEqual([]);
  const telling = calls.filter(({ said }) => said.includes("hidden")).map(({ method }) => method.name);
  expect(telling).toEqual(
    expect.arrayContaining([
      "GetRun",
      "WatchRun",
      "ReadLog",
      "DownloadArtifact",
      "ListProjects",
      "GetProject",
      "ListSecrets",
      "ListPools",
      "GetFlow",
    ]),
  );
});
