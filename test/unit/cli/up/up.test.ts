import { describe, expect, it } from "vitest";
import { restartPauseMs } from "../../../../cli/up/child.ts";
import { problemIn } from "../../../../cli/up/child-log.ts";
import { hostPort, localHost, requireSafeHost } from "../../../../cli/up/host.ts";
import { natsConfig, parseNatsVersion } from "../../../../cli/up/nats.ts";
import { subjects } from "../../../../shared/bus/subjects.ts";
import { limits } from "../../../../shared/limits.ts";

describe("up", () => {
  it.each(["127.0.0.1", "127.8.8.8", "::1", "localhost"])("listens on %s without asking", (host) => {
    expect(() => requireSafeHost(host, false)).not.toThrow();
  });

  it.each(["0.0.0.0", "::", "192.168.1.2", "build.example.com", "127.0.0.1.example.com"])(
    "listens on %s only when told that it is insecure",
    (host) => {
      expect(() => requireSafeHost(host, false)).toThrow(/TLS.*\n.*--insecure/);
      expect(() => requireSafeHost(host, true)).not.toThrow();
    },
  );

  it("reaches a server that listens everywhere on this machine", () => {
    expect(hostPort(localHost("0.0.0.0"), 7070)).toBe("127.0.0.1:7070");
    expect(hostPort(localHost("::"), 7070)).toBe("[::1]:7070");
    expect(hostPort("farm", 7070)).toBe("farm:7070");
  });

  it("waits longer after each failure in a row, up to a bound", () => {
    expect([1, 2, 3].map((failures) => restartPauseMs(failures, () => 1))).toEqual([
      limits.childPauseMs,
      limits.childPauseMs * 2,
      limits.childPauseMs * 4,
    ]);
    expect(restartPauseMs(1_000, () => 1)).toBe(limits.childPauseMaxMs);
    expect(restartPauseMs(1, () => 0)).toBe(limits.childPauseMs / 2);
  });
});

describe("what a child says", () => {
  it.each([
    ['{"level":50,"msg":"disk full"}', "stdout", "disk full"],
    ['{"level":40,"msg":"retrying","err":{"message":"refused"}}', "stdout", "retrying: refused"],
    ["Error: cannot find module", "stderr", "Error: cannot find module"],
    ["[12] 2026/01/01 10:00:00.000000 [ERR] Authorization violation", "stderr", "Authorization violation"],
  ] as const)("is shown when it is a problem: %s", (line, stream, shown) => {
    expect(problemIn(line, stream)).toBe(shown);
  });

  it.each([
    ['{"level":30,"msg":"serving"}', "stdout"],
    ['{"grpc":"127.0.0.1:1"}', "stdout"],
    ["some progress", "stdout"],
    ["[12] 2026/01/01 10:00:00.000000 [WRN] Plaintext passwords detected", "stderr"],
    ["", "stderr"],
  ] as const)("stays in its file otherwise: %s", (line, stream) => {
    expect(problemIn(line, stream)).toBeUndefined();
  });
});

describe("the embedded NATS", () => {
  const credentials = {
    coordinator: { user: "coordinator", password: "c" },
    agent: { user: "agent", password: "a" },
  };

  it("lets agents publish to the farm and listen to what is theirs, and every subject of an agent is covered", () => {
    const config = natsConfig(7422, credentials);
    expect(config).toContain('publish: ["millrace.farm.>", "_INBOX.>"]');
    expect(config).toContain('subscribe: ["millrace.agent.>", "millrace.agents.>", "_INBOX.>"]');
    for (const sent of [subjects.heartbeat("x"), subjects.report("x"), subjects.goodbye("x")]) {
      expect(sent).toMatch(/^millrace\.farm\./);
    }
    for (const heard of [subjects.assign("x"), subjects.cancel("x"), subjects.rejoin("x")]) {
      expect(heard).toMatch(/^millrace\.agent\./);
    }
    expect(subjects.rollCall).toMatch(/^millrace\.agents\./);
  });

  it("takes the largest message that the bus sends", () => {
    const [, payload] = /max_payload: (\d+)/.exec(natsConfig(1, credentials)) ?? [];
    expect(Number(payload)).toBeGreaterThan(limits.busMessageBytes);
  });

  it("is asked for its version", () => {
    expect(parseNatsVersion("nats-server: v2.9.10\n")).toEqual([2, 9]);
    expect(parseNatsVersion("nats-server: v2.11.4-beta\n")).toEqual([2, 11]);
    expect(parseNatsVersion("something else")).toBeUndefined();
  });
});
