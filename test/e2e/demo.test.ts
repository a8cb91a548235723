import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { cliEnvironment } from "../support/farm.ts";
import { processesAbout } from "../support/process-state.ts";
import { tempDir } from "../support/temp-dir.ts";

describe("the demo", () => {
  it("ends by itself without a terminal, shows what the cache saved, and leaves nothing behind", async () => {
    const dir = tempDir();
    const demo = resolve(import.meta.dirname, "../../deploy/demo.sh");
    const { stdout } = await promisify(execFile)("sh", [demo], { env: { ...cliEnvironment(dir), TMPDIR: dir } });
    expect(stdout).toMatch(/^verify\/unit +│ /m);
    expect(stdout).toMatch(/^run_1 succeeded in [^;]+$/m);
    expect(stdout).toMatch(/^run_2 succeeded in .*; (\d+) of \1 tasks from the cache, which saved /m);
    expect(stdout).toMatch(/the farm serves at http:\/\/127\.0\.0\.1:\d+/);
    expect(readdirSync(dir)).toEqual([]);
    expect(processesAbout(dir)).toEqual([]);
  });
});
