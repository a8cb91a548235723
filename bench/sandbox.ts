import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chooseSandbox } from "../agent/runner/probe-sandbox.ts";
import { openRunner } from "../agent/runner/runner.ts";
import { systemClock } from "../shared/clock.ts";
import type { Measured } from "./bench.ts";

const rounds = 200;

/** What the sandbox adds to a task that does nothing, from the order to start it to the news that nothing of it is left. */
export async function sandbox(): Promise<Measured> {
  const data = realpathSync(mkdtempSync(join(tmpdir(), "millrace-bench-")));
  const at = (name: string) => join(data, name);
  for (const name of ["own", "home", "tmp"]) mkdirSync(at(name));
  const runner = await openRunner({
    name: `millrace-bench-${process.pid}`,
    stateFile: at("containment"),
    startsFile: at("process-starts.log"),
    namespace: ["unshare", "--mount", "--propagation", "private"],
    clock: systemClock,
  });
  const samples: Record<"none" | "bubblewrap", number[]> = { none: [], bubblewrap: [] };
  try {
    await chooseSandbox("bubblewrap", runner, { data, hidden: [data] });
    const writable = ["own", "home", "tmp"].map(at);
    const folders = { hidden: [data], readable: [], writable, temporary: at("tmp"), network: true };
    for (let round = 0; round < rounds; round += 1) {
      for (const level of ["none", "bubblewrap"] as const) {
        const started = performance.now();
        const task = await runner.start({
          ...{ executionId: "", attempt: 0, arguments: ["/bin/sh", "-e", "-c", "true"] },
          ...{ environment: { PATH: "/usr/bin:/bin" }, workingFolder: at("own"), spool: at("spool") },
          ...(level === "none" ? {} : { sandbox: folders }),
        });
        const { code } = await task.ended;
        if (code !== 0) throw new Error(`a task at level ${level} ended with ${code}`);
        samples[level].push(performance.now() - started);
      }
    }
  } finally {
    await runner.close();
    rmSync(data, { recursive: true, force: true });
  }
  const added = samples.bubblewrap.map((ms, index) => ms - (samples.none[index] ?? 0));
  const figures = [
    { name: `a no-op task at level none (of ${rounds})`, unit: "ms", samples: samples.none, target: "" },
    { name: "the same at level bubblewrap", unit: "ms", samples: samples.bubblewrap, target: "" },
    { name: "added by bubblewrap and the shim", unit: "ms", samples: added, target: "<= 6" },
  ];
  return { figures };
}
