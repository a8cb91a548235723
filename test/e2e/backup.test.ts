import {
  cpSync,
  existsSync,
  globSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CliResult, project, startFarm, type TestFarm } from "../support/farm.ts";
import { tempDir } from "../support/temp-dir.ts";

const pipeline = `name: kept
stages:
  build:
    tasks:
      small: { run: "cat in.txt && mkdir out && cp in.txt out/small", inputs: [in.txt], outputs: { small: out/ } }
      large: { run: "seq 1 100000 > large.txt && head -c 10 in.txt", inputs: [in.txt], outputs: { large: large.txt } }
  check:
    needs: [build]
    tasks:
      both: { run: "wc -c small/small large", use: [small, large], inputs: [] }
`;

const sourceOf = (text: string) => ({ "millrace.yaml": pipeline, "in.txt": `${text}\n` });
const json = ({ stdout }: CliResult) => JSON.parse(stdout);

let farm: TestFarm;
let backup: string;
beforeAll(async () => {
  farm = await startFarm({ agents: 2 });
  backup = join(mkdtempSync(join(tmpdir(), "millrace-backup-")), "monday");
});
afterAll(async () => {
  await farm.remove();
  rmSync(join(backup, ".."), { recursive: true, force: true });
});

/** What people see of a run. */
async function seen(of: TestFarm, run: string) {
  const [show, artifacts, log] = await Promise.all([
    of.cli(["show", run, "--json"]),
    of.cli(["artifacts", run, "--json"]),
    of.cli(["logs", run, "both"]),
  ]);
  return { show: json(show), artifacts: json(artifacts), log: log.stdout };
}

describe("a backup made while the farm works", () => {
  it("restores into an empty folder: the same runs, artifacts and cache", async () => {
    const source = project(sourceOf("before"));
    expect((await farm.run(source)).status).toBe("succeeded");
    const before = await seen(farm, "run_1");

    // Runs and uploads go on from before the backup until after it.
    let isLoaded = true;
    const load = async (name: string): Promise<void> => {
      for (let round = 1; isLoaded; round += 1) {
        expect((await farm.run(project(sourceOf(`${name} ${round}`)))).status).toBe("succeeded");
      }
    };
    const loads = [load("left"), load("right")];
    const made = await farm.cli(["admin", "backup", backup, "--json"]);
    isLoaded = false;
    await Promise.all(loads);
    expect(made.status, made.stderr).toBe(0);
    expect(json(made)).toMatchObject({ folder: backup, lost: [] });
    expect(json(made).files).toBe(
      globSync("data/**", { cwd: backup }).filter((path) => statSync(join(backup, path)).isFile()).length,
    );
    expect(await farm.stop()).toBe(0);

    const dir = mkdtempSync(join(tmpdir(), "millrace-restored-"));
    const data = join(dir, "data", "coordinator");
    const restored = await farm.cli(["admin", "restore", backup, "--data", data, "--json"]);
    expect(restored.status, restored.stderr).toBe(0);
    for (const secret of ["tokens/admin", "tokens/agent", "coordinator.db"]) {
      expect(statSync(join(data, secret)).mode & 0o077, secret).toBe(0);
    }

    const oldKeys = join(farm.dataDir, "agents/1/credentials.json");
    const keptKeys = join(dir, "data/agents/1/credentials.json");
    cpSync(oldKeys, keptKeys);
    const second = await startFarm({ agents: 2, dir });
    try {
      // Refused, the agent would have made new ones.
      expect(readFileSync(keptKeys, "utf8")).toBe(readFileSync(oldKeys, "utf8"));
      expect(second.token).toBe(farm.token);
      expect(await seen(second, "run_1")).toEqual(before);
      const hits = await second.run(source);
      expect(hits.status).toBe("succeeded");
      expect(hits.tasks.map(({ cached }) => cached)).toEqual([true, true, true]);
      expect(second.processStarts().filter((line) => line.includes(` ${hits.run}.`))).toEqual([]);
      // The restored farm works on, also on what was under way.
      const fresh = await second.run(project(sourceOf("after")));
      expect(fresh.status).toBe("succeeded");
      const { runs } = json(await second.cli(["runs", "--json"])) as { runs: { run: string; status: string }[] };
      for (const { run } of runs) await second.cli(["logs", run, "--follow"]);
      const rebuilt = json(await second.cli(["admin", "rebuild", "--json"]));
      expect(rebuilt).toMatchObject({ runs: runs.length, changed: 0 });

      expect((await second.cli(["runs", "pin", "run_1", "--reason", "shipped"])).stderr).toContain("stays until");
      const pinned = json(await second.cli(["runs", "--json"])) as { runs: { run: string; pinned: boolean }[] };
      expect(pinned.runs.filter((run) => run.pinned).map(({ run }) => run)).toEqual(["run_1"]);
      const nothing = { runs: 0, runLogs: 0, cachedResults: 0, blobs: 0, blobBytes: 0, storeBytesMax: null };
      expect(json(await second.cli(["admin", "gc", "--dry-run", "--json"]))).toMatchObject({
        dryRun: true,
        ...nothing,
      });
    } finally {
      await second.remove();
    }
  });
});

describe("a restore", () => {
  const restore = (from: string, data: string) => farm.cli(["admin", "restore", from, "--data", data]);
  const copyOfBackup = () => {
    const copy = join(tempDir(), "copy");
    cpSync(backup, copy, { recursive: true });
    return copy;
  };

  it("refuses a damaged backup by the names of its files, and leaves nothing", async () => {
    const copy = copyOfBackup();
    const [segment = ""] = globSync("data/cas/segments/*.seg", { cwd: copy });
    const bytes = readFileSync(join(copy, segment));
    bytes[10] = (bytes[10] ?? 0) ^ 1;
    writeFileSync(join(copy, segment), bytes);
    const [log = ""] = globSync("data/logs/**/*.log", { cwd: copy });
    rmSync(join(copy, log));
    const data = join(tempDir(), "new");
    const { status, stderr } = await restore(copy, data);
    expect(status).toBe(3);
    expect(stderr).toContain(`${join(copy, segment)}: its bytes are`);
    expect(stderr).toContain(`${join(copy, log)}: it is gone`);
    expect(readdirSync(data).filter((name) => !name.startsWith("lock"))).toEqual([]);
  });

  it("refuses a manifest in which a byte is another, and a backup without one", async () => {
    const copy = copyOfBackup();
    const manifest = join(copy, "manifest.jsonl");
    writeFileSync(manifest, readFileSync(manifest, "utf8").replace('"mode":384', '"mode":420'));
    const damaged = await restore(copy, join(tempDir(), "new"));
    expect(damaged.stderr).toContain(`${manifest} is damaged`);
    rmSync(manifest);
    const partial = await restore(copy, join(tempDir(), "new"));
    expect(partial.stderr).toContain(`${copy} holds no finished backup`);
    expect([damaged.status, partial.status]).toEqual([3, 3]);
  });

  it("touches no folder that holds anything", async () => {
    const data = tempDir();
    writeFileSync(join(data, "theirs"), "x");
    const { status, stderr } = await restore(backup, data);
    expect(status).toBe(3);
    expect(stderr).toContain("is not empty");
    expect(readdirSync(data)).toEqual(["theirs"]);
    expect(existsSync(join(data, "theirs"))).toBe(true);
  });
});
