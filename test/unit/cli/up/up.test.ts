import { spawn } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { restartPauseMs } from "../../../../cli/up/child.ts";
import { problemIn } from "../../../../cli/up/child-log.ts";
import { absoluteVariables } from "../../../../cli/up/detached.ts";
import { natsConfig, parseNatsVersion } from "../../../../cli/up/nats.ts";
import { recordedProcess, recordProcess } from "../../../../cli/up/process-record.ts";
import { downCommand } from "../../../../cli/up/running-farm.ts";
import { limits } from "../../../../shared/limits.ts";
import { exitOf } from "../../../support/exit-of.ts";
import { tempDir } from "../../../support/temp-dir.ts";

describe("up", () => {
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

describe("a farm in the background", () => {
  it("has the paths of its variables where they were given", () => {
    const others = { MILLRACE_TLS_CA: "system", MILLRACE_TLS_DIR: "", MILLRACE_KEEP_RUNS: "5", PATH: "bin" };
    const given = { MILLRACE_SECRET_KEY_FILE: "key", MILLRACE_DIST: "/dist", ...others };
    expect(absoluteVariables(given)).toEqual({ ...given, MILLRACE_SECRET_KEY_FILE: resolve("key") });
  });

  it("is stopped by a command that can be pasted, whatever its folder is called", () => {
    expect(downCommand("/srv/millrace")).toBe("millrace down --data /srv/millrace");
    expect(downCommand("/srv/it's here")).toBe("millrace down --data '/srv/it'\\''s here'");
  });
});

describe.skipIf(!existsSync("/proc/self/stat"))("the record of a process", () => {
  it("tells of its end although it has been removed, and of no other process with its number", async () => {
    const file = join(tempDir(), "up.json");
    const child = spawn("sleep", ["60"], { stdio: "ignore" });
    onTestFinished(() => void child.kill("SIGKILL"));
    recordProcess(file, child.pid ?? 0);
    const recorded = recordedProcess(file);
    expect(recorded).toMatchObject({ pid: child.pid });
    rmSync(file);
    expect(recordedProcess(file)).toBeUndefined();
    expect(recorded?.isRunning()).toBe(true);
    child.kill("SIGKILL");
    await exitOf(child);
    expect(recorded?.isRunning()).toBe(false);
  });

  it("that cannot be read is not one that is not there", () => {
    const folder = tempDir();
    expect(() => recordedProcess(folder)).toThrow(`reading ${folder}: EISDIR`);
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
    coordinator: { user: "coordinator", password: "coordinators-own" },
    managed: {
      monitor: { user: "monitor", password: "m" },
      usersFile: "/data/nats/users.conf",
      pidFile: "/a b/nats.pid",
    },
  };

  it("leaves the users of the farm's account to the coordinator's file, and nobody else's account to anybody", () => {
    const config = natsConfig({ host: "127.0.0.1", port: 7422, tls: undefined }, credentials);
    expect(config).toContain('FARM { include "./users.conf" }');
    expect(config).toContain('pid_file: "/a b/nats.pid"');
    expect(config).not.toContain(credentials.coordinator.password);
  });

  it("listens where the coordinator does, with the same certificate", () => {
    const tls = { certFile: "/a b/server.pem", keyFile: '/a "b"/server.key' };
    const config = natsConfig({ host: "2001:db8::1", port: 7422, tls }, credentials);
    expect(config).toContain('listen: "[2001:db8::1]:7422"');
    expect(config).toContain('cert_file: "/a b/server.pem", key_file: "/a \\"b\\"/server.key"');
    expect(natsConfig({ host: "127.0.0.1", port: 7422, tls: undefined }, credentials)).not.toContain("tls");
  });

  it("takes the largest message that the bus sends", () => {
    const [, payload] =
      /max_payload: (\d+)/.exec(natsConfig({ host: "127.0.0.1", port: 1, tls: undefined }, credentials)) ?? [];
    expect(Number(payload)).toBeGreaterThan(limits.busMessageBytes);
  });

  it("is asked for its version", () => {
    expect(parseNatsVersion("nats-server: v2.9.10\n")).toEqual([2, 9]);
    expect(parseNatsVersion("nats-server: v2.11.4-beta\n")).toEqual([2, 11]);
    expect(parseNatsVersion("something else")).toBeUndefined();
  });
});
