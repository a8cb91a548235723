import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { type Child, superviseChild } from "../../../../cli/up/child.ts";
import { childLog } from "../../../../cli/up/child-log.ts";
import { choosePorts, keepPorts } from "../../../../cli/up/ports.ts";
import { endLeftover, recordProcess } from "../../../../cli/up/process-record.ts";
import { limits } from "../../../../shared/limits.ts";
import { lockFolder } from "../../../../shared/sqlite/folder-lock.ts";
import { exitOf } from "../../../support/exit-of.ts";
import { isRunning } from "../../../support/process-state.ts";
import { tempDir } from "../../../support/temp-dir.ts";

/** A child that says its process id when it serves. */
function nodeChild(script: string, dataDir = tempDir()) {
  const reports: string[] = [];
  const reported = new Map<string, () => void>();
  const child: Child<number> = superviseChild(
    {
      name: "part",
      command: () => ({ file: process.execPath, args: ["-e", script], channel: true }),
      readyFrom: (line) => (line.startsWith("ready ") ? Number(line.slice(6)) : undefined),
    },
    {
      dataDir,
      report(_name, problem) {
        reports.push(problem);
        for (const [text, call] of reported) if (problem.includes(text)) call();
      },
    },
  );
  onTestFinished(() => {
    child.kill();
    return child.stop();
  });
  const nextReport = (text: string) => new Promise<void>((resolve) => void reported.set(text, resolve));
  return { child, reports, nextReport, dataDir };
}

/** Last in a script: from the line it prints on, the child is taken to be ready for anything. */
const serve = "console.log('ready ' + process.pid); setInterval(() => {}, 1e6);";

describe("a child of up", () => {
  it("is started again, alone, when it falls", async () => {
    const lives = join(tempDir(), "lives");
    const script = `const { appendFileSync, readFileSync } = require("node:fs");
      appendFileSync(${JSON.stringify(lives)}, process.pid + "\\n");
      ${serve}
      if (readFileSync(${JSON.stringify(lives)}, "utf8").split("\\n").length > 2) console.error("up again");`;
    const { child, reports, nextReport } = nodeChild(script);
    const pid = await child.start();
    const again = nextReport("up again");
    process.kill(pid, "SIGKILL");
    await again;
    expect(reports[0]).toMatch(/was ended by SIGKILL; starting it again in \d+ ms/);
    const [, secondPid = 0] = readFileSync(lives, "utf8").split("\n").map(Number);
    expect(secondPid).not.toBe(pid);
    await child.stop();
    expect(isRunning(secondPid)).toBe(false);
  });

  it("that never serves is an error with its last words, not a loop", async () => {
    const { child } = nodeChild("console.error('no such setting: --frobnicate'); process.exit(2)");
    await expect(child.start()).rejects.toThrow(
      /part did not start: it exited with 2\n {2}no such setting: --frobnicate/,
    );
  });

  it("that cannot be started at all is an error, too", async () => {
    const child = superviseChild(
      {
        name: "part",
        command: () => ({ file: "/does/not/exist", args: [], channel: false }),
        readyFrom: () => undefined,
      },
      { dataDir: tempDir(), report() {} },
    );
    await expect(child.start()).rejects.toThrow(/did not start.*ENOENT/);
  });

  it("keeps what it says in its log, and shows only problems", async () => {
    const { child, reports, nextReport, dataDir } = nodeChild(
      `process.on("SIGUSR2", () => { console.log("chatter"); console.error("trouble"); }); ${serve}`,
    );
    const trouble = nextReport("trouble");
    process.kill(await child.start(), "SIGUSR2");
    await trouble;
    await child.stop();
    expect(reports).toEqual(["trouble"]);
    expect(readFileSync(join(dataDir, "logs", "part.log"), "utf8")).toMatch(
      /^ready \d+\n(chatter\ntrouble|trouble\nchatter)\n$/,
    );
  });

  it("takes those that it started along when it must be killed", async () => {
    const script = `const child = require("node:child_process").spawn("sleep", ["600"]);
      process.on("SIGTERM", () => {});
      console.log("ready " + child.pid); setInterval(() => {}, 1e6);`;
    const { child } = nodeChild(script);
    const grandchild = await child.start();
    child.kill();
    await child.stop();
    await vi.waitFor(() => expect(isRunning(grandchild)).toBe(false), 10_000);
  });
});

describe("what a killed supervisor left behind", () => {
  it("is ended when it still is the process that was written down", async () => {
    const file = join(tempDir(), "part.json");
    const child = spawn("sleep", ["600"], { detached: true, stdio: "ignore" });
    onTestFinished(() => void child.kill("SIGKILL"));
    const gone = exitOf(child);
    recordProcess(file, child.pid ?? 0);
    await endLeftover(file);
    expect((await gone)[1]).toBe("SIGKILL");
    expect(existsSync(file)).toBe(false);
  });

  it("is let alone when the number belongs to another process by now", async () => {
    const file = join(tempDir(), "part.json");
    const child = spawn("sleep", ["600"], { detached: true, stdio: "ignore" });
    onTestFinished(() => void child.kill("SIGKILL"));
    recordProcess(file, child.pid ?? 0);
    const record = JSON.parse(readFileSync(file, "utf8"));
    writeFileSync(file, JSON.stringify({ ...record, startTicks: "1" }));
    await endLeftover(file);
    expect(isRunning(child.pid ?? 0)).toBe(true);
    writeFileSync(file, "{");
    await endLeftover(file);
    expect(existsSync(file)).toBe(false);
  });
});

describe("a data folder", () => {
  it("belongs to one process at a time", () => {
    const dir = tempDir();
    const lock = lockFolder(dir, "holder");
    expect(() => lockFolder(dir, "holder")).toThrow(new RegExp(`in use by another .* \\(process ${process.pid}\\)`));
    lock.release();
    lockFolder(dir, "holder").release();
  });

  it("is free again after a kill -9 of its holder", async () => {
    const dir = tempDir();
    const module = new URL("../../../../shared/sqlite/folder-lock.ts", import.meta.url).href;
    const script = `(await import(${JSON.stringify(module)})).lockFolder(${JSON.stringify(dir)}, "holder"); console.log("held"); setInterval(() => {}, 1e6);`;
    const holder = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    onTestFinished(() => void holder.kill("SIGKILL"));
    await once(holder.stdout, "data");
    expect(() => lockFolder(dir, "holder")).toThrow(`(process ${holder.pid})`);
    holder.kill("SIGKILL");
    await exitOf(holder);
    lockFolder(dir, "holder").release();
  });

  it("keeps its ports, and names the flag when one that was asked for is taken", async () => {
    const dir = tempDir();
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    const address = server.address();
    const taken = typeof address === "object" && address !== null ? address.port : 0;
    const any = { grpc: 0, http: 0, nats: 0 };
    expect(await choosePorts(dir, "127.0.0.1", any)).toEqual(any);
    keepPorts(dir, { grpc: 40_001, http: taken, nats: 40_003 });
    expect(await choosePorts(dir, "127.0.0.1", any)).toEqual({ grpc: 40_001, http: 0, nats: 40_003 });
    await expect(choosePorts(dir, "127.0.0.1", { ...any, grpc: taken })).rejects.toThrow(
      `port ${taken} is in use by another program. Choose another with --grpc-port`,
    );
  });
});

describe("the log of a child", () => {
  it("is bounded: a full one makes way", () => {
    const file = join(tempDir(), "part.log");
    writeFileSync(file, Buffer.alloc(limits.childLogBytes));
    const log = childLog(file);
    log.line("fresh");
    log.close();
    expect(readFileSync(file, "utf8")).toBe("fresh\n");
    expect(existsSync(`${file}.1`)).toBe(true);
  });
});
