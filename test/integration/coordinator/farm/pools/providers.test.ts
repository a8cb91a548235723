import { existsSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { execProvider, requireProgram } from "../../../../../coordinator/farm/pools/exec-provider.ts";
import { localProcessProvider } from "../../../../../coordinator/farm/pools/local-process-provider.ts";
import type { AgentOrder } from "../../../../../coordinator/farm/pools/pool-provider.ts";
import { systemClock } from "../../../../../shared/clock.ts";
import { poolLimits } from "../../../../../shared/limits/pools.ts";
import { limits } from "../../../../../shared/limits.ts";
import { poolProviderConformance } from "../../../../conformance/pool-provider.ts";
import { fakeClock } from "../../../../support/fake-clock.ts";
import { processesAbout } from "../../../../support/process-state.ts";
import { tempDir } from "../../../../support/temp-dir.ts";

const idleAgent = join(import.meta.dirname, "fixtures/idle-agent.ts");
const example = resolve(import.meta.dirname, "../../../../../examples/pools/processes.py");
const env = { ...process.env, MILLRACE_DATA: "/nowhere", MILLRACE_TOKEN: "of the coordinator" };
const { signal } = new AbortController();

/** An executable file. */
function script(text: string): string {
  const file = join(tempDir(), "command");
  writeFileSync(file, text, { mode: 0o755 });
  return file;
}

function local(folder = join(realpathSync(tempDir()), "linux"), self = [process.execPath, idleAgent]) {
  const [file = "", ...args] = self;
  return localProcessProvider({ folder, self: { file, args }, env, hide: ["/hidden"], clock: systemClock });
}

poolProviderConformance("local-process", () => {
  const folder = join(realpathSync(tempDir()), "linux");
  return { provider: local(folder), again: () => local(folder), folder };
});

poolProviderConformance("exec with the command of the examples", () => {
  const folder = realpathSync(tempDir());
  const millrace = script(`#!/bin/sh\nexec '${process.execPath}' '${idleAgent}' "$@"\n`);
  const open = () => execProvider({ pool: "linux", command: [example, folder, millrace], env, clock: systemClock });
  return { provider: open(), again: open, folder };
});

const order: AgentOrder = {
  ...{ pool: "linux", coordinator: "127.0.0.1:1", slots: 1, ephemeral: false, labels: {} },
  agents: [{ id: "linux-1", token: "secret" }],
};

describe("local-process", () => {
  test("ends its agents when the coordinator stops on purpose", async () => {
    const folder = join(realpathSync(tempDir()), "linux");
    const provider = local(folder);
    await provider.add(order, signal);
    await vi.waitFor(() => expect(processesAbout(folder)).toHaveLength(1)); // until its first process has become the agent
    await provider.close();
    expect(processesAbout(folder)).toEqual([]);
    expect(existsSync(join(folder, "linux-1"))).toBe(false);
  });

  test("takes no other process for an agent, whatever number its file has", async () => {
    const folder = join(realpathSync(tempDir()), "linux");
    const provider = local(folder);
    await provider.add(order, signal);
    const file = join(folder, "linux-1/process");
    const written = readFileSync(file, "utf8");
    // The number of an agent that has ended was given to us.
    writeFileSync(file, written.replace(/\n\d+ /, `\n${process.pid} `));
    expect(await provider.list(signal)).toEqual([]);
    writeFileSync(file, written);
    expect(await provider.list(signal)).toEqual(["linux-1"]);
    await provider.close();
  });

  test("kills an agent that does not end when it is told to", async () => {
    const folder = join(realpathSync(tempDir()), "linux");
    const stubborn = script(`#!/bin/sh\ntrap '' TERM; echo > "$0.deaf"; exec tail -f "$0.deaf"\n`);
    const clock = fakeClock();
    const provider = localProcessProvider({ folder, self: { file: stubborn, args: [] }, env, hide: [], clock });
    await provider.add(order, signal);
    await vi.waitFor(() => expect(existsSync(`${stubborn}.deaf`)).toBe(true));
    const removed = provider.remove(["linux-1"], signal);
    let isOver = false;
    void removed.finally(() => (isOver = true));
    clock.advance(limits.childStopMs - poolLimits.processCheckMs);
    await new Promise(setImmediate);
    expect(processesAbout(stubborn)).toHaveLength(1);
    await vi.waitFor(() => {
      clock.advance(poolLimits.processCheckMs);
      expect(isOver).toBe(true);
    });
    await removed;
    expect(processesAbout(stubborn)).toEqual([]);
  });

  test("says why an agent could not be started", async () => {
    const folder = join(realpathSync(tempDir()), "linux");
    const provider = local(folder, ["/nowhere/node"]);
    await provider.add(order, signal);
    await vi.waitFor(async () => expect(await provider.list(signal)).toEqual([]));
    expect(readFileSync(join(folder, "linux-1/agent.log"), "utf8")).toContain("/nowhere/node");
    const blocked = local("/proc/millrace/linux");
    await expect(blocked.add(order, signal)).rejects.toThrow(/starting linux-1: .* cannot be made/);
  });
});

describe("exec", () => {
  const call = (text: string, timeoutMs?: number) =>
    execProvider({
      ...{ pool: "linux", command: [script(text), "eu-1"], env, clock: systemClock },
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });

  test("hands over the words and the details", async () => {
    const out = join(tempDir(), "said");
    const provider = call(`#!/bin/sh\n{ echo "$MILLRACE_POOL $*"; cat; } > ${out}\n`);
    await provider.add(order, signal);
    const [words, details = ""] = readFileSync(out, "utf8").split("\n");
    expect(words).toBe("linux eu-1 add 1");
    expect(JSON.parse(details)).toEqual({ ...order });
    await provider.remove(["linux-1", "linux-2"], signal);
    expect(readFileSync(out, "utf8")).toBe(
      'linux eu-1 remove linux-1 linux-2\n{"pool":"linux","agents":["linux-1","linux-2"]}\n',
    );
  });

  test("fails with the last line on standard error", async () => {
    const provider = call("#!/bin/sh\ncat > /dev/null; echo first >&2; echo 'quota of 8 reached' >&2; exit 7\n");
    await expect(provider.add(order, signal)).rejects.toThrow(/add: exited with 7: quota of 8 reached$/);
  });

  test("does not mind a command that reads nothing, or leaves something running", async () => {
    const provider = call(`#!/bin/sh\nsleep 300 & echo $! > "$0.pid"; echo '{"agents": []}'\n`);
    expect(await provider.list(signal)).toEqual([]);
    const [sleeper] = processesAbout("sleep 300");
    expect(sleeper).toBeDefined();
    if (sleeper !== undefined) process.kill(sleeper.pid, "SIGKILL");
  });

  test.each([
    ["no JSON at all", "echo linux-1"],
    ["something else", `echo '{"agents": "linux-1"}'`],
    ["names that no agent has", `echo '{"agents": ["Linux 1"]}'`],
  ])("refuses a listing that is %s", async (_, print) => {
    await expect(call(`#!/bin/sh\n${print}\n`).list(signal)).rejects.toThrow(
      /list: expected \{"agents": \["id", …\]\}/,
    );
  });

  test("kills a command that takes too long, with what it has started", async () => {
    const mark = join(tempDir(), "mark");
    const provider = call(`#!/bin/sh\nsh -c 'echo > ${mark}; exec tail -f ${mark}'\n`, 500);
    await expect(provider.list(signal)).rejects.toThrow(/did not end within 0.5 s/);
    await vi.waitFor(() => expect(processesAbout(mark)).toEqual([]));
  });

  test("kills a command that talks without end", async () => {
    await expect(call("#!/bin/sh\nexec yes\n").list(signal)).rejects.toThrow(/printed more than 1048576 bytes/);
  });

  test("kills the command when the coordinator stops", async () => {
    const mark = join(tempDir(), "mark");
    const provider = call(`#!/bin/sh\necho > ${mark}; exec tail -f ${mark}\n`);
    const stopping = new AbortController();
    const listed = provider.list(stopping.signal);
    await vi.waitFor(() => expect(existsSync(mark)).toBe(true));
    stopping.abort();
    await expect(listed).rejects.toThrow(/the coordinator stops/);
    await vi.waitFor(() => expect(processesAbout(mark)).toEqual([]));
  });

  test("is refused when its program is not there, cannot be executed or is not named in full", () => {
    const plain = join(tempDir(), "plain");
    writeFileSync(plain, "#!/bin/sh\n", { mode: 0o644 });
    expect(() => requireProgram(["scale.sh"])).toThrow(/is not an absolute path/);
    expect(() => requireProgram([join(plain, "x")])).toThrow(/is no file on the coordinator's machine/);
    expect(() => requireProgram([plain])).toThrow(/cannot be executed by the coordinator/);
    expect(() => requireProgram([script("#!/bin/sh\n")])).not.toThrow();
  });
});
