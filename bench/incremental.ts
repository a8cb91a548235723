import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { submitSource } from "../cli/submit-source.ts";
import { RunService } from "../proto/gen/millrace/v1/run_pb.ts";
import { systemClock } from "../shared/clock.ts";
import { grpcTransport } from "../shared/rpc/grpc-transport.ts";
import { openStatCache } from "../shared/stat-cache/sqlite-stat-cache.ts";
import { startFarm } from "../test/support/farm.ts";
import type { Measured } from "./bench.ts";

const folders = 1_000;
const filesPerFolder = 20;
const runs = 7;

/**
 * One file of 20,000 has changed: what it takes until the run is planned, from a warm stat cache, against a real farm.
 * `git status` on the same tree at the same moment is the peer: it too looks at every file and reads what has changed.
 */
export async function incremental(): Promise<Measured> {
  const dir = mkdtempSync(join(tmpdir(), "millrace-bench-"));
  const farm = await startFarm({ agents: 1 });
  const transport = grpcTransport({ address: farm.grpc, token: farm.token });
  const connection = { transport, runs: createClient(RunService, transport) };
  try {
    const source = join(dir, "source");
    makeSource(source);
    git(source, "init", "--quiet", ".");
    git(source, "add", "--all");
    git(source, ...["-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "-m", "bench"]);
    const total: number[] = [];
    const snapshot: number[] = [];
    const sentBytes: number[] = [];
    const wholeCli: number[] = [];
    const peer: number[] = [];
    let firstMs = 0;
    for (let run = 0; run <= runs; run++) {
      appendFileSync(join(source, "src/p7/d7/f7.ts"), `// change ${run}\n`);
      const start = performance.now();
      let bytes = 0;
      let uploadedMs = 0;
      const statCache = openStatCache({
        ...{ folder: join(dir, "cache"), source, startedMs: systemClock.nowMs() },
        onProblem: (problem) => process.stderr.write(`${problem.message}\n`),
      });
      await submitSource(connection, {
        dir: source,
        run: { pipelinePath: "millrace.yaml", idempotencyKey: `bench-${run}` },
        signal: new AbortController().signal,
        statCache,
        onUploaded: (sent) => {
          bytes += sent.bytes;
          uploadedMs = performance.now() - start;
        },
      });
      const totalMs = performance.now() - start;
      await (await statCache).close();
      if (run === 0) {
        firstMs = totalMs;
        continue;
      }
      total.push(totalMs);
      snapshot.push(uploadedMs);
      sentBytes.push(bytes);
      peer.push(timed(() => git(source, "status", "--short")));
      const cliStart = performance.now();
      await farm.cli(["run", source, "--detach"]);
      wholeCli.push(performance.now() - cliStart);
    }
    const figures = [
      { name: "one of 20,000 changed: snapshot, upload, plan", unit: "ms", samples: total, target: "<= 400" },
      { name: "of which snapshot and upload", unit: "ms", samples: snapshot, target: "" },
      { name: "blob bytes sent", unit: "B", samples: sentBytes, target: "<= changed + 65536" },
      { name: "peer: git status on the same tree", unit: "ms", samples: peer, target: "" },
      { name: "nothing changed: millrace run --detach, whole process", unit: "ms", samples: wholeCli, target: "" },
      { name: "the first time: everything read and sent", unit: "ms", samples: [firstMs], target: "" },
    ];
    return { figures };
  } finally {
    transport.close();
    await farm.stop();
    await farm.remove();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** As old as a checkout usually is. */
export function makeSource(source: string): void {
  const agedS = Date.now() / 1000 - 3600;
  for (let folder = 0; folder < folders; folder++) {
    const path = join(source, `src/p${folder % 50}/d${folder}`);
    mkdirSync(path, { recursive: true });
    for (let file = 0; file < filesPerFolder; file++) {
      const at = join(path, `f${file}.ts`);
      writeFileSync(at, `// ${folder} ${file}\n${"x".repeat((folder * 37 + file * 91) % 4000)}\n`);
      utimesSync(at, agedS, agedS);
    }
  }
  writeFileSync(join(source, ".gitignore"), "node_modules/\ndist/\n*.log\n");
  const task = `{ run: "true", inputs: ["src/p1/**"] }`;
  writeFileSync(join(source, "millrace.yaml"), `name: bench\nstages:\n  s:\n    tasks:\n      t: ${task}\n`);
}

export function git(folder: string, ...args: string[]): void {
  execFileSync("git", args, { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
}

export function timed(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}
