import { mkdtempSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { cliEnvironment, project, startCli, startFarm } from "../support/farm.ts";
import { isLong } from "../support/long.ts";
import { tempDir } from "../support/temp-dir.ts";
import { connect, followRun, readLogs } from "./follow.ts";

const pipeline = `name: lonely
stages:
  work:
    tasks:
      count:
        agents: { chaos: "yes" }
        cache: false
        run: 'i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo $i; sleep 0.02; done'
`;

const whole = Array.from({ length: 100 }, (_, index) => `${index + 1}\n`).join("");

// A lease is 10 s: too long for every test run.
it.runIf(isLong)(
  "an agent that stays away is lost and its log ends in a gap; when it comes after all, it completes the log",
  async () => {
    const dir = mkdtempSync(join(tmpdir(), "millrace-farm-"));
    const farm = await startFarm({ agents: 0, dir });
    onTestFinished(() => farm.remove());
    const data = join(tempDir(), "agent");
    const tokenFile = join(farm.dataDir, "coordinator/tokens/agent");
    const who = ["--name", "loner", "--slots", "1", "--label", "chaos=yes"];
    const startAgent = async () => {
      const at = ["--coordinator", farm.grpc, "--token-file", tokenFile, "--data", data];
      const agent = startCli(["agent", ...at, ...who, "--json"], cliEnvironment(dir));
      await agent.line(/"state":"online"/);
      return agent;
    };
    const agent = await startAgent();
    const services = connect(farm);
    onTestFinished(() => services.close());
    const source = project({ "millrace.yaml": pipeline });
    const { run } = JSON.parse((await farm.cli(["run", source, "--detach", "--json"])).stdout) as { run: string };
    const names: string[] = [];
    const { signal } = new AbortController();
    const followed = followRun(services, { run, signal, names });
    const spool = join(data, "spool", `${run}.work.count.1`);
    const sizeBytes = () => statSync(spool, { throwIfNoEntry: false })?.size ?? 0;
    await vi.waitFor(() => expect(sizeBytes()).toBeGreaterThan(150), { timeout: 20_000, interval: 5 });
    const before = readFileSync(spool, "utf8");
    process.kill(Number(readFileSync(join(data, "lock.pid"), "utf8")), "SIGKILL");
    await agent.result;

    const lost = () => readLogs(services, { run, follow: false, signal }).then((logs) => logs.get("work/count#1"));
    await vi.waitFor(async () => expect(await lost()).toMatchObject({ gap: true }), { timeout: 30_000, interval: 100 });
    const torso = (await lost())?.text ?? "";
    expect(whole.startsWith(torso)).toBe(true);
    // The lines of the last moments are on the agent's disk alone; those of 200 ms before are here.
    expect(before.length - torso.length).toBeLessThan("100\n".length * 10);

    const late = await startAgent();
    onTestFinished(async () => {
      late.process.kill("SIGTERM");
      await late.result;
    });
    await followed.events;
    await followed.log;
    const complete = await lost();
    expect(complete).toMatchObject({ gap: true, ends: 1 });
    expect(complete?.text.startsWith(before)).toBe(true);
    const logs = await readLogs(services, { run, follow: true, signal });
    expect(logs.get("work/count#2")).toEqual({ text: whole, ends: 1, gap: false });
  },
  120_000,
);
