import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { databaseCopy } from "../../../agent/upgrade/database-copy.ts";
import { installation } from "../../../agent/upgrade/installation.ts";
import { readUpgradeRecord, type UpgradeRecord, writeUpgradeRecord } from "../../../agent/upgrade/upgrade-record.ts";
import type { FailedProgram } from "../../../agent/upgrade/upgrade-state.ts";
import { settleUpgrade, upgrader } from "../../../agent/upgrade/upgrader.ts";
import type { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { tempDir } from "../../support/temp-dir.ts";

// Programs are shell scripts here: real files and real processes, and quick. Real programs: test/e2e/upgrade.test.ts.

const oldText = "#!/bin/sh\necho the old one\n";

/** A program that does this when it is tried. It changes the agent's database, as a newer version may. */
function program(whenTried: string, says = "2.0.0") {
  const text = `#!/bin/sh
[ "$1" = --version ] && { echo ${says}; exit; }
cd "$2"; echo tried >>tries; echo newer >agent.sqlite
${whenTried}
`;
  const bytes = Buffer.from(text);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { bytes, offer: { version: "2.0.0", sha256, sizeBytes: bytes.byteLength } };
}

const joins = `echo '{"agent":"a","state":"trial"}'; exec sleep 60`;

function setup() {
  const data = tempDir();
  const executable = join(tempDir(), "millrace");
  writeFileSync(executable, oldText, { mode: 0o755 });
  writeFileSync(join(data, "agent.sqlite"), "older");
  const drained = Promise.withResolvers<void>();
  let drains = 0;
  const failures: FailedProgram[] = [];
  const errors: MillraceError[] = [];
  const clock = fakeClock();
  const installed = installation(executable);
  const database = databaseCopy(join(data, "agent.sqlite"));
  const record = {
    read: () => readUpgradeRecord(data),
    write: (value: UpgradeRecord) => writeUpgradeRecord(data, value),
  };
  const common = { ownVersion: "1.0.0", installation: installed, database, record, clock };
  const subject = () =>
    upgrader({
      ...common,
      args: ["agent", data],
      drain() {
        drains += 1;
        drained.resolve();
      },
      say: () => undefined,
      onError: (error) => errors.push(error),
    });
  return {
    ...{ data, executable, record, clock, failures, errors, common, subject, drained: drained.promise },
    drains: () => drains,
    farm: (bytes: Uint8Array) => ({
      async *fetch() {
        yield bytes.subarray(0, 10);
        yield bytes.subarray(10);
      },
      sayFailed: (failed: FailedProgram) => void failures.push(failed),
    }),
    file: (name: string) => readFileSync(join(data, name), "utf8"),
    installedText: () => readFileSync(executable, "utf8"),
  };
}

describe("an upgrade", () => {
  test("puts the new program in the place of the old one, which stays beside it", async () => {
    const { subject, farm, drained, executable, installedText } = setup();
    const one = subject();
    const { bytes, offer } = program(joins);
    one.offered(offer, farm(bytes));
    await drained;
    expect(installedText()).toBe(oldText);
    expect(await one.conclude()).toBe("new");
    expect(installedText()).toBe(bytes.toString());
    expect(readFileSync(`${executable}.previous`, "utf8")).toBe(oldText);
  });

  test("goes back from a program that ends, with the database as it was, and does not try it again", async () => {
    const { subject, farm, drained, installedText, file, record, executable } = setup();
    const one = subject();
    const { bytes, offer } = program("echo something is missing >&2; exit 9");
    one.offered(offer, farm(bytes));
    await drained;
    expect(await one.conclude()).toBe("old");
    expect(installedText()).toBe(oldText);
    expect(existsSync(`${executable}.offered`)).toBe(false);
    expect(file("agent.sqlite")).toBe("older");
    expect(record.read().failed).toMatchObject({ reason: "it ended with exit code 9: something is missing" });

    const next = subject(); // the start after it
    next.offered(offer, farm(bytes));
    expect(await next.conclude()).toBeUndefined();
    expect(file("tries")).toBe("tried\n");
  });

  test("goes back from a program that does not join within its time, and ends it; after the third time it has failed", async () => {
    const { subject, farm, drains, file, data, clock, record, installedText } = setup();
    const { bytes, offer } = program("trap '' TERM; echo $$ >pid.new; mv pid.new pid; while :; do sleep 1; done");
    for (let trial = 1; trial <= limits.upgradeTrials; trial += 1) {
      const one = subject(); // a start of the old program, which has joined
      one.offered(offer, farm(bytes));
      await vi.waitFor(() => expect(drains()).toBe(trial), { timeout: 10_000 });
      const concluded = one.conclude();
      await vi.waitFor(() => expect(existsSync(join(data, "pid"))).toBe(true), { timeout: 10_000 });
      clock.advance(limits.upgradeTrialMs);
      // It is asked first, and is given its time for that.
      await vi.waitFor(() => {
        clock.advance(limits.upgradeTrialStopMs);
        expect(existsSync(`/proc/${file("pid").trim()}`)).toBe(false);
      });
      rmSync(join(data, "pid"));
      expect(await concluded).toBe("old");
      expect([installedText(), file("agent.sqlite")]).toEqual([oldText, "older"]);
      const { trying, late, failed } = record.read();
      expect(trying).toBeUndefined();
      if (trial < limits.upgradeTrials) expect([late?.times, failed]).toEqual([trial, undefined]);
      else expect(failed?.reason).toBe("it had not joined the farm after 60 s, 3 times");
    }
  });

  test("takes a program that joins when it is tried again, and forgets that it was late", async () => {
    const { subject, farm, drained, record, common } = setup();
    const { bytes, offer } = program(joins);
    record.write({ late: { version: offer.version, sha256: offer.sha256, times: 2 } });
    const one = subject();
    one.offered(offer, farm(bytes));
    await drained;
    expect(await one.conclude()).toBe("new");
    settleUpgrade({ ...common, ownVersion: offer.version }); // the start after it
    expect(record.read()).toEqual({});
  });

  test("does not wait for what a tried program leaves behind with its pipes", async () => {
    const { subject, farm, drained, data, clock, record } = setup();
    const one = subject();
    const { bytes, offer } = program("sleep 600 & echo $! >pid; echo no use >&2; exit 9");
    one.offered(offer, farm(bytes));
    await drained;
    const concluded = one.conclude();
    await vi.waitFor(() => expect(readFileSync(join(data, "pid"), "utf8")).toMatch(/\n/), { timeout: 10_000 });
    const left = Number(readFileSync(join(data, "pid"), "utf8"));
    onTestFinished(() => void process.kill(left));
    let over = false;
    void concluded.then(() => (over = true));
    await vi.waitFor(() => {
      clock.advance(limits.upgradeLastWordsMs); // far below the time of a trial
      expect(over).toBe(true);
    });
    expect(await concluded).toBe("old");
    expect(record.read().failed?.reason).toBe("it ended with exit code 9: no use");
  });

  test("does not begin with a program that says another version, and tells the farm", async () => {
    const { subject, farm, failures, file } = setup();
    const one = subject();
    const { bytes, offer } = program(joins, "3.0.0");
    one.offered(offer, farm(bytes));
    await vi.waitFor(() => expect(failures).toMatchObject([{ reason: "it says that it is version 3.0.0" }]));
    expect(await one.conclude()).toBeUndefined();
    expect(() => file("tries")).toThrow("ENOENT");
  });

  test("leaves bytes that are not those of the offer, and takes the next offer", async () => {
    const { subject, farm, errors, drained } = setup();
    const one = subject();
    const { bytes, offer } = program(joins);
    one.offered(offer, farm(Buffer.concat([bytes, Buffer.from("more")])));
    await vi.waitFor(() => expect(errors).toMatchObject([{ code: "data_loss" }]));
    one.offered(offer, farm(Buffer.from(bytes.toString().replace("tried", "TRIED"))));
    await vi.waitFor(() => expect(errors).toHaveLength(2));
    one.offered(offer, farm(bytes));
    await drained;
    expect(await one.conclude()).toBe("new");
  });

  test("is over when the agent is told to end: the program that is tried ends, the old one stays", async () => {
    const { subject, farm, drained, data, record, installedText, file } = setup();
    const one = subject();
    const { bytes, offer } = program("echo $$ >pid; exec sleep 60");
    one.offered(offer, farm(bytes));
    await drained;
    const concluded = one.conclude();
    await vi.waitFor(() => expect(existsSync(join(data, "pid"))).toBe(true), { timeout: 10_000 });
    one.end();
    expect(await concluded).toBeUndefined();
    expect(installedText()).toBe(oldText);
    expect(file("agent.sqlite")).toBe("older");
    expect(record.read()).toEqual({});
  });
});

describe("a start", () => {
  const trying = { version: "2.0.0", sha256: "a" };

  test("of the old program after a trial that was cut off goes back, and counts it as failed", () => {
    const { common, record, data, file } = setup();
    databaseCopy(join(data, "agent.sqlite")).make();
    writeFileSync(join(data, "agent.sqlite"), "newer");
    writeFileSync(join(data, "agent.sqlite-wal"), "newer");
    record.write({ trying });
    expect(settleUpgrade(common).failed).toMatchObject(trying);
    expect(file("agent.sqlite")).toBe("older");
    expect(existsSync(join(data, "agent.sqlite-wal"))).toBe(false);
    expect(record.read().trying).toBeUndefined();
  });

  test("of the new program ends the upgrade: its database stays", () => {
    const { common, record, data, file } = setup();
    databaseCopy(join(data, "agent.sqlite")).make();
    writeFileSync(join(data, "agent.sqlite"), "newer");
    record.write({ trying, failed: { ...trying, reason: "before", timeMs: 1 } });
    expect(settleUpgrade({ ...common, ownVersion: "2.0.0" })).toEqual({});
    expect(file("agent.sqlite")).toBe("newer");
    expect(existsSync(join(data, "agent.sqlite.before-upgrade"))).toBe(false);
    expect(record.read()).toEqual({});
  });

  test("with a record that makes no sense says which file, and what to do", () => {
    const { data } = setup();
    mkdirSync(data, { recursive: true });
    writeFileSync(join(data, "upgrade.json"), '{"trying": 1}');
    chmodSync(join(data, "upgrade.json"), 0o600);
    expect(() => readUpgradeRecord(data)).toThrow(/upgrade\.json is damaged: remove it/);
  });
});
