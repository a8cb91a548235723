import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { AgentOrder, PoolProvider } from "../../coordinator/farm/pools/pool-provider.ts";
import { processesAbout } from "../support/process-state.ts";

/** A provider whose agents have folders below `folder`; `again` is the same one after a restart of the coordinator. */
export interface OpenedProvider {
  readonly provider: PoolProvider;
  readonly again: () => PoolProvider;
  readonly folder: string;
}

const { signal } = new AbortController();

const orderOf = (...ids: string[]): AgentOrder => ({
  ...{ pool: "linux", coordinator: "127.0.0.1:1", slots: 2, ephemeral: true, labels: { disk: "nvme", zone: "a" } },
  agents: ids.map((id) => ({ id, token: `secret-of-${id}` })),
});

/** The processes that were started for an agent. */
function processesOf({ folder }: OpenedProvider, id: string): number[] {
  return processesAbout(`${join(folder, id)}/`).map(({ pid }) => pid);
}

/** What the agent was given, once it runs. */
async function given({ folder }: OpenedProvider, id: string) {
  const file = join(folder, id, "given.json");
  await vi.waitFor(() => expect(JSON.parse(readFileSync(file, "utf8"))).toBeDefined(), { timeout: 20_000 });
  return JSON.parse(readFileSync(file, "utf8")) as { words: string[]; token: string; settings: string[] };
}

/** What every provider promises that starts processes here. `open` is called once a test and starts nothing. */
export function poolProviderConformance(name: string, open: () => OpenedProvider): void {
  async function started(...ids: string[]): Promise<OpenedProvider> {
    const opened = open();
    onTestFinished(async () => {
      await opened.provider.remove(ids, signal);
      expect(processesAbout(opened.folder)).toEqual([]);
    });
    await opened.provider.add(orderOf(...ids), signal);
    return opened;
  }

  describe(`${name} as a pool provider`, () => {
    test("names what it was asked to add from then on, and nothing after it was removed", async () => {
      const opened = open();
      const { provider } = opened;
      expect(await provider.list(signal)).toEqual([]);
      await provider.add(orderOf("linux-1", "linux-2"), signal);
      expect([...(await provider.list(signal))].sort()).toEqual(["linux-1", "linux-2"]);
      await provider.remove(["linux-1"], signal);
      expect(await provider.list(signal)).toEqual(["linux-2"]);
      await provider.remove(["linux-2"], signal);
      expect(await provider.list(signal)).toEqual([]);
    });

    test("leaves neither a process nor a folder of an agent that it has removed", async () => {
      const opened = await started("linux-1");
      await given(opened, "linux-1");
      expect(processesOf(opened, "linux-1")).toHaveLength(1);
      await opened.provider.remove(["linux-1"], signal);
      expect(processesOf(opened, "linux-1")).toEqual([]);
      expect(existsSync(join(opened.folder, "linux-1"))).toBe(false);
    });

    test("removes one that was added a moment ago, before it could do anything", async () => {
      const opened = await started("linux-1");
      await opened.provider.remove(["linux-1"], signal);
      expect(processesOf(opened, "linux-1")).toEqual([]);
      expect(await opened.provider.list(signal)).toEqual([]);
    });

    test("starts no second process for an agent that is there, and does nothing for one that is not", async () => {
      const opened = await started("linux-1");
      await given(opened, "linux-1");
      const [pid] = processesOf(opened, "linux-1");
      await opened.provider.add(orderOf("linux-1"), signal);
      await opened.provider.remove(["linux-9"], signal);
      expect(processesOf(opened, "linux-1")).toEqual([pid]);
    });

    test("finds its agents again after a restart of the coordinator, and can remove them", async () => {
      const opened = await started("linux-1");
      await given(opened, "linux-1");
      const later = opened.again();
      expect(await later.list(signal)).toEqual(["linux-1"]);
      await later.add(orderOf("linux-1"), signal);
      expect(processesOf(opened, "linux-1")).toHaveLength(1);
      await later.remove(["linux-1"], signal);
      expect(processesOf(opened, "linux-1")).toEqual([]);
    });

    test("does not name an agent whose process has ended, and starts it when it is asked once more", async () => {
      const opened = await started("linux-1");
      await given(opened, "linux-1");
      for (const pid of processesOf(opened, "linux-1")) process.kill(pid, "SIGKILL");
      await vi.waitFor(async () => expect(await opened.provider.list(signal)).toEqual([]));
      await opened.provider.add(orderOf("linux-1"), signal);
      expect(await opened.provider.list(signal)).toEqual(["linux-1"]);
    });

    test("gives each agent its name, its token and the settings of the pool, and the token not by its arguments", async () => {
      const opened = await started("linux-1");
      const { words, token, settings } = await given(opened, "linux-1");
      expect(words[0]).toBe("agent");
      const said = words.join(" ");
      for (const flag of ["--name linux-1", "--pool linux", "--slots 2", "--coordinator 127.0.0.1:1", "--ephemeral"]) {
        expect(said).toContain(flag);
      }
      expect(said).toContain("--label disk=nvme --label zone=a");
      expect(said).not.toContain("secret");
      expect(token).toBe("secret-of-linux-1");
      expect(settings).not.toContain("MILLRACE_DATA");
    });
  });
}
