import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { connectNatsBus } from "../../shared/bus/nats-bus.ts";
import { subjects } from "../../shared/bus/subjects.ts";
import { cliEnvironment, project, startCli, startFarm } from "../support/farm.ts";
import { startNatsOf } from "../support/nats-server.ts";
import { tempDir } from "../support/temp-dir.ts";

/** A block of the guide that an operator copies. */
function fromGuide(language: string, holds: string): string {
  const guide = readFileSync("docs/guides/agents.md", "utf8");
  const blocks = [...guide.matchAll(new RegExp(`\`\`\`${language}\\n([^\`]*)\`\`\``, "g"))].map(
    ([, text = ""]) => text,
  );
  const found = blocks.find((text) => text.includes(holds));
  if (found === undefined) throw new Error(`the guide has no ${language} with ${holds}`);
  return found;
}

const pipeline = (pool: string) =>
  `name: ext\nstages: { s: { tasks: { t: { run: echo on ${pool}, cache: false, agents: { pool: ${pool} } } } } }\n`;

test("on a NATS of the operator's own everything works, and what it cannot give is said at the start", async () => {
  const nats = await startNatsOf(fromGuide("text", "allow_responses"));
  const credentials = join(tempDir(), "nats.json");
  writeFileSync(credentials, fromGuide("json", "COORDINATOR-PASSWORD"));
  const farm = await startFarm({ agents: 1, flags: ["--nats", nats.url, "--nats-creds", credentials] });
  onTestFinished(() => farm.remove());
  await farm.problem(/all agents share the one NATS user .* not isolated from each other/);
  const local = await farm.run(project({ "millrace.yaml": pipeline("default") }));
  expect(local).toMatchObject({ exitStatus: 0, tasks: [{ agent: "agent-1" }] });

  const made = await farm.cli(["token", "create", "--role", "agent", "--pool", "far", "--json"]);
  const { token } = JSON.parse(made.stdout) as { token: string };
  const start = (name: string) => {
    const where = ["--coordinator", farm.grpc, "--data", join(tempDir(), name), "--slots", "1"];
    const agent = startCli(["agent", ...where, "--token", token, "--name", name, "--json"], cliEnvironment(tempDir()));
    onTestFinished(async () => {
      agent.process.kill("SIGTERM");
      await agent.result;
    });
    return agent;
  };
  const far = start("far-1");
  await far.line(/"state":"online"/);
  const remote = await farm.run(project({ "millrace.yaml": pipeline("far") }));
  expect(remote).toMatchObject({ exitStatus: 0, tasks: [{ agent: "far-1" }] });
  expect((await start("far-2").result).stderr).toContain('has let in the agent "far-1"');

  // What is said at the start is so: the shared user hears what is meant for another agent.
  const shared = { user: "agent", password: "AGENT-PASSWORD" };
  const spy = await connectNatsBus({ servers: [nats.url], name: "spy", onError: () => undefined, ...shared });
  onTestFinished(() => spy.close());
  await spy.subscribe(subjects.assign("far-1"), () => undefined);

  expect((await farm.cli(["agents", "remove", "far-1"])).status).toBe(0);
  expect(await far.result).toMatchObject({ stderr: expect.stringContaining('"far-1" was removed from this farm') });
  const { agents } = JSON.parse((await farm.cli(["agents", "--json"])).stdout) as { agents: { id: string }[] };
  expect(agents.map(({ id }) => id)).toEqual(["agent-1"]);
}, 120_000);
