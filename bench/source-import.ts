import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { RunService } from "../proto/gen/millrace/v1/run_pb.ts";
import { grpcTransport } from "../shared/rpc/grpc-transport.ts";
import { startFarm } from "../test/support/farm.ts";
import type { Measured } from "./bench.ts";
import { git, makeSource, timed } from "./incremental.ts";

const runs = 7;

/**
 * One file of 20,000 has changed in a pushed commit: what it takes until an agent has imported it and the run is planned,
 * on a real farm. The peers start from the same repository at the same moment and end with a checkout, which an import
 * does without: a fetch into a clone that is there, and a clone of the one commit.
 */
export async function sourceImport(): Promise<Measured> {
  const dir = mkdtempSync(join(tmpdir(), "millrace-bench-"));
  const farm = await startFarm({ agents: 1, env: { MILLRACE_SOURCE_PATH: dir } });
  const transport = grpcTransport({ address: farm.grpc, token: farm.token });
  const client = createClient(RunService, transport);
  try {
    const source = join(dir, "source");
    const url = join(dir, "source.git");
    const clone = join(dir, "clone");
    makeSource(source);
    git(source, "init", "--quiet", "--initial-branch=main", ".");
    execFileSync("git", ["init", "--quiet", "--bare", "--initial-branch=main", url]);
    const imported: number[] = [];
    const again: number[] = [];
    const fetched: number[] = [];
    const cloned: number[] = [];
    let firstMs = 0;
    for (let run = 0; run <= runs; run++) {
      appendFileSync(join(source, "src/p7/d7/f7.ts"), `// change ${run}\n`);
      git(source, "add", "--all");
      git(source, ...["-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "-m", "bench"]);
      git(source, "push", "--quiet", url, "HEAD:main");
      const submit = async () => {
        const start = performance.now();
        await client.submitRun({ run: {}, git: { url, ref: "main" } });
        return performance.now() - start;
      };
      const submitMs = await submit();
      if (run === 0) {
        firstMs = submitMs;
        git(dir, "clone", "--quiet", `file://${url}`, clone);
        continue;
      }
      imported.push(submitMs);
      again.push(await submit());
      fetched.push(
        timed(() => {
          git(clone, "fetch", "--quiet", "origin", "main");
          git(clone, "checkout", "--quiet", "FETCH_HEAD");
        }),
      );
      cloned.push(timed(() => git(dir, "clone", "--quiet", "--depth=1", `file://${url}`, `shallow-${run}`)));
    }
    const figures = [
      { name: "one of 20,000 changed: fetch, import, plan", unit: "ms", samples: imported, target: "<= 1000" },
      { name: "the same commit again", unit: "ms", samples: again, target: "" },
      { name: "peer: git fetch && git checkout in a clone", unit: "ms", samples: fetched, target: "" },
      { name: "peer: git clone --depth=1", unit: "ms", samples: cloned, target: "" },
      { name: "the first time: everything fetched, read and sent", unit: "ms", samples: [firstMs], target: "" },
    ];
    return { figures };
  } finally {
    transport.close();
    await farm.stop();
    await farm.remove();
    rmSync(dir, { recursive: true, force: true });
  }
}
