import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type DeployDeps, deploy } from "../../../../agent/operations/deploy.ts";
import { firstState } from "../../../../agent/operations/deploy-state.ts";
import type { Release } from "../../../../agent/operations/release.ts";
import { digestKey, digestOf } from "../../../../shared/digest.ts";
import type { MillraceError } from "../../../../shared/errors.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const release = (version: string): Release => ({
  digest: digestKey(digestOf(Buffer.from(version))),
  arguments: ["serve"],
  environment: {},
  probeUrl: "http://127.0.0.1:1/health",
  probeTimeoutMs: 0,
});

test("a log that takes no more lines stops no deployment half-way", async () => {
  const log = join(tempDir(), "log");
  writeFileSync(log, "");
  const [one, two] = [release("one"), release("two")];
  const done: string[] = [];
  const errors: MillraceError[] = [];
  const deps: DeployDeps = {
    journal: { save: async () => {}, finish: async () => {}, verified: async () => one },
    units: {
      start: async (_unit, { environment }) => {
        const [version] = [one, two].filter(({ digest }) => digest === environment.MILLRACE_RELEASE);
        done.push(`start ${version === one ? "one" : "two"}`);
        if (version === two) throw new Error("it does not start");
      },
      stop: async () => void done.push("stop"),
      status: () => undefined,
    },
    folder: {
      current: "/current",
      ensure: async () => {},
      flip: async () => void done.push("flip"),
      clear: async () => void done.push("clear"),
      retain: async () => {},
    },
    storeOf: () => ({}) as never, // nothing is fetched
    clock: fakeClock(),
    onStep(_id, step) {
      if (step !== "starting") return;
      rmSync(log);
      symlinkSync("/dev/full", log); // the disk is full from now on
    },
    onError: (error) => errors.push(error),
  };
  const never = new AbortController().signal;
  const target = { environment: "local", app: "app" };
  const entry = { state: firstState, movedBytes: 0, probeAnswer: "" };
  const plan = { executionId: "exe_1", target, release: two, entry, log, cancelled: never, ending: never };
  await deploy(deps, plan);
  expect(done).toEqual(["stop", "flip", "start two", "stop", "flip", "start one"]);
  expect(errors[0]).toMatchObject({ code: "resource_exhausted" });
});
