import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { startTestCoordinator } from "../../support/coordinator.ts";
import { newKeys } from "../../support/enrol.ts";
import { cliEnvironment, type RunningCli, startCli } from "../../support/farm.ts";
import { startManagedNats } from "../../support/nats-server.ts";
import { tempDir } from "../../support/temp-dir.ts";

type Farm = Awaited<ReturnType<typeof startFarm>>;

async function startFarm() {
  const coordinator = await startTestCoordinator(tempDir(), { nats: await startManagedNats() });
  const { agents } = coordinator.as("admin");
  return {
    ...coordinator,
    remove: (id: string) => agents.removeAgent({ id }),
    /** Resolves when it is there. */
    online: (id: string) =>
      vi.waitFor(
        async () => {
          const found = (await agents.listAgents({})).agents.find(({ info }) => info?.id === id);
          expect(found?.state).toBe(AgentState.ONLINE);
          return found;
        },
        { timeout: 20_000 },
      ),
  };
}

/** An agent's program, as an operator starts it; gone after the test. */
function start(farm: Pick<Farm, "address">, data: string, ...more: string[]): RunningCli {
  const where = ["--coordinator", farm.address, "--data", data, "--slots", "1", "--sandbox", "none"];
  const agent = startCli(["agent", ...where, "--json", ...more], cliEnvironment(tempDir()));
  onTestFinished(async () => {
    agent.process.kill("SIGTERM");
    await agent.result;
  });
  return agent;
}

const isOnline = (agent: RunningCli) => agent.line(/"state":"online"/);

async function stop(agent: RunningCli): Promise<void> {
  agent.process.kill("SIGTERM");
  await agent.result;
}

const keyFiles = (data: string) => readdirSync(join(data, "enrolments")).map((name) => join(data, "enrolments", name));

/** The one file with keys. */
function keysIn(data: string): { path: string; publicKey: string; secret: string; isEnrolled: boolean } {
  const [path = ""] = keyFiles(data);
  return { path, ...JSON.parse(readFileSync(path, "utf8")) };
}

test("an agent makes its own keys, keeps them to its owner, and needs the token only once", async () => {
  const farm = await startFarm();
  const data = join(tempDir(), "agent");
  const token = await farm.enrolmentToken({ pool: "linux" });
  const first = start(farm, data, "--token", token, "--name", "a");
  await isOnline(first);
  expect((await farm.online("a"))?.info?.labels.pool).toBe("linux");
  const { path, isEnrolled, publicKey } = keysIn(data);
  expect([isEnrolled, statSync(path).mode & 0o777]).toEqual([true, 0o600]);
  await stop(first);
  await isOnline(start(farm, data));
  expect(keysIn(data).publicKey).toBe(publicKey);

  const other = start(farm, join(tempDir(), "other"), "--token", token, "--name", "b");
  expect(await other.result).toMatchObject({ stderr: expect.stringMatching(/has let in the agent "a".*token create/) });
  const without = start(farm, join(tempDir(), "none"), "--name", "c");
  expect((await without.result).stderr).toMatch(/"c" is not enrolled at .*start it with a token/);
  const taken = start(farm, join(tempDir(), "taken"), "--token", await farm.enrolmentToken(), "--name", "a");
  expect(await taken.result).toMatchObject({ status: 2, stderr: expect.stringContaining("millrace agents remove a") });
}, 120_000);

test.each(["before it was let in", "when it was let in and had not heard so"])(
  "an agent that died with its keys written, %s, is let in with the same token and the same keys",
  async (when) => {
    const farm = await startFarm();
    const data = join(tempDir(), "agent");
    const token = await farm.enrolmentToken();
    const at = ["--token", token, "--name", "a"];
    const first = start(farm, data, ...at);
    await isOnline(first);
    await stop(first);
    const { path } = keysIn(data);
    let keys: { publicKey: string; secret: string } = keysIn(data);
    if (when.startsWith("before")) {
      await farm.remove("a");
      const { seed, publicKey, secret } = newKeys();
      keys = { publicKey, secret };
      writeFileSync(path, JSON.stringify({ coordinator: farm.address, seed, publicKey, secret, isEnrolled: false }));
      at[1] = await farm.enrolmentToken();
    } else {
      writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), isEnrolled: false }));
    }
    await isOnline(start(farm, data, ...at));
    expect(keysIn(data)).toMatchObject({ ...{ publicKey: keys.publicKey, secret: keys.secret }, isEnrolled: true });
  },
  120_000,
);

test("an agent that is removed ends, says why also when it is started again, and comes back with a new token", async () => {
  const farm = await startFarm();
  const data = join(tempDir(), "agent");
  const token = await farm.enrolmentToken();
  const agent = start(farm, data, "--token", token, "--name", "a");
  await isOnline(agent);
  await farm.online("a");
  const { publicKey } = keysIn(data);
  await farm.remove("a");
  const ended = await agent.result;
  expect(ended).toMatchObject({ status: 3, stderr: expect.stringMatching(/"a" was removed from this farm at/) });
  const again = await start(farm, data).result;
  expect(again.stderr).toMatch(/refuses the keys of the agent "a" .*was removed .*Start it with a new token/);
  const used = await start(farm, data, "--token", token).result;
  expect(used.stderr).toMatch(/the enrolment token \S+ has let in the agent "a".*it had refused the keys in/);
  await isOnline(start(farm, data, "--token", await farm.enrolmentToken()));
  expect(keysIn(data).publicKey).not.toBe(publicKey);
}, 120_000);

test("of two machines with one identity the newer one stays, and the older one says who took over and ends", async () => {
  const farm = await startFarm();
  const data = join(tempDir(), "agent");
  const copy = join(tempDir(), "copy");
  const first = start(farm, data, "--token", await farm.enrolmentToken(), "--name", "a");
  await isOnline(first);
  await stop(first);
  cpSync(data, copy, { recursive: true });

  const older = start(farm, data);
  await isOnline(older);
  await farm.online("a");
  const newer = start(farm, copy);
  await isOnline(newer);
  expect(await older.result).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/another process took over as the agent "a": on \S+, since 20.*--name/),
  });
  await farm.online("a");
  expect(newer.process.exitCode).toBeNull();
}, 120_000);

test("a data folder keeps the keys for each farm, and shows none of them to another", async () => {
  const [one, other] = [await startFarm(), await startFarm()];
  const data = join(tempDir(), "agent");
  const here = start(one, data, "--token", await one.enrolmentToken(), "--name", "a");
  await isOnline(here);
  await stop(here);
  const there = start(other, data, "--token", await other.enrolmentToken());
  await isOnline(there);
  await stop(there);
  const files = keyFiles(data).map((path) => JSON.parse(readFileSync(path, "utf8")));
  expect(new Set(files.map(({ coordinator }) => coordinator))).toEqual(new Set([one.address, other.address]));
  expect(new Set(files.map(({ secret }) => secret)).size).toBe(2);
  await isOnline(start(one, data));
}, 120_000);

test("damaged keys are said to be so, and nothing of them", async () => {
  const farm = await startFarm();
  const path = join(tempDir(), "keys.json");
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, '{"secret":"mr_half');
  const { stderr } = await start(farm, join(tempDir(), "agent"), "--credentials", path).result;
  expect(stderr).toContain(`${path} is damaged: delete it`);
  expect(stderr).not.toContain("mr_half");
});
