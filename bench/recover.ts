import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { eventStoreSchema, sqliteEventStore } from "../coordinator/store/sqlite-event-store.ts";
import {
  CommitSchema,
  EndingKind,
  type EventSchema,
  RunStatus,
  TaskStatus,
  WaitCause,
} from "../proto/gen/millrace/v1/event_pb.ts";
import { digestOf, digestToMessage } from "../shared/digest.ts";
import { openSqlite } from "../shared/sqlite/open.ts";
import { millrace } from "../test/support/program.ts";
import { type Measured, must } from "./bench.ts";
import { killed, startNats } from "./nats.ts";

const runs = 10_000;
/** Of them, those that wait at a gate: they have an actor and a timer after each start. */
const unfinished = 100;
const tasksOfRun = 25;
const eventsOfCommit = 10;
const starts = 5;
const appendsInFlight = 512;

type EventInit = MessageInitShape<typeof EventSchema>;

/**
 * How long a coordinator that was killed takes to serve again, from the start of its process, with a long history: what
 * has finished must not be read again. Beside it the start that folds the whole log into run summaries, as after a restore.
 */
export async function recover(): Promise<Measured> {
  await using closing = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), "millrace-bench-"));
  closing.defer(() => rmSync(folder, { recursive: true, force: true }));
  const { url, user, password, stop } = await startNats(folder);
  closing.defer(stop);
  const credentials = join(folder, "nats.json");
  const both = { user, password };
  writeFileSync(credentials, JSON.stringify({ coordinator: both, agent: both }));
  const start = async (data: string) => {
    const started = await startCoordinator(["--data", data, "--nats", url, "--nats-credentials", credentials]);
    await killed(started.child);
    return started.readyAfterMs;
  };

  const [none, long] = [join(folder, "none"), join(folder, "long")];
  mkdirSync(long);
  await start(none);
  const emptyMs = await start(none);
  const events = await writeHistory(join(long, "coordinator.db"));
  const rebuiltMs = await start(long);
  const readyMs: number[] = [];
  for (let index = 0; index < starts; index += 1) readyMs.push(await start(long));
  const many = `${runs} runs, ${events} events`;
  return {
    figures: [
      { name: "killed to ready, no history", unit: "ms", samples: [emptyMs], target: "" },
      {
        name: `killed to ready, ${many}`,
        unit: "ms",
        samples: readyMs,
        target: "<= 3000",
        note: `${unfinished} unfinished`,
      },
      {
        name: "the summaries of all runs made anew",
        unit: "ms",
        samples: [rebuiltMs],
        target: "",
        note: many,
      },
    ],
  };
}

/** From the start of the process to the line in which it says that it serves. */
async function startCoordinator(args: readonly string[]): Promise<{ child: ChildProcess; readyAfterMs: number }> {
  const begun = performance.now();
  const ports = ["--grpc-port", "0", "--http-port", "0"];
  const child = spawn(millrace, ["coordinator", ...args, ...ports, "--json"], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit").then(() => Promise.reject(new Error("the coordinator ended before it was ready")));
  ended.catch(() => undefined); // once it is ready, its end is expected
  await Promise.race([once(createInterface({ input: child.stdout }), "line"), ended]);
  return { child, readyAfterMs: performance.now() - begun };
}

/** Writes what so many runs would have left; gives the number of events. */
async function writeHistory(path: string): Promise<number> {
  const sqlite = await openSqlite({ path, schema: [eventStoreSchema] });
  try {
    const store = sqliteEventStore({ sqlite });
    let events = 0;
    let next = 1;
    const one = async (): Promise<void> => {
      while (next <= runs) {
        const number = next++;
        const all = eventsOf(`run_${number}`, number <= runs - unfinished);
        events += all.length;
        let token = (await store.read("run/none")).token;
        for (let from = 0; from < all.length; from += eventsOfCommit) {
          const commit = create(CommitSchema, { events: all.slice(from, from + eventsOfCommit) });
          token = await store.append(`run/run_${number}`, token, commit);
        }
      }
    };
    await Promise.all(Array.from({ length: appendsInFlight }, one));
    must(events >= 1_000_000, `${events} events were written`);
    return events;
  } finally {
    await sqlite.close();
  }
}

/** A run of 25 tasks, and a gate before the last that stays closed in one that goes on. */
function eventsOf(run: string, isFinished: boolean): EventInit[] {
  const digest = digestToMessage(digestOf(Buffer.from(run)));
  const names = Array.from({ length: tasksOfRun }, (_, index) => `task-${index}`);
  const about = { time: timestampFromMs(Date.now()), project: "default", principal: "token:bench" };
  const event = (kind: EventInit["kind"]): EventInit => ({ ...about, ...(kind === undefined ? {} : { kind }) });
  const steps = names.flatMap((name): EventInit[] => {
    const task = `build/${name}`;
    const wait = { cause: WaitCause.AGENTS_BUSY, detail: "every agent that offers os=linux is busy" };
    return [
      event({ case: "taskWaiting", value: { task, wait } }),
      event({ case: "taskSubmitted", value: { task, actionDigest: digest, executionId: `${run}.build.${name}` } }),
      event({
        case: "taskStarted",
        value: { task, attempt: 1, agent: "agent-1", executionId: `${run}.build.${name}` },
      }),
      event({
        case: "taskFinished",
        value: {
          task,
          status: TaskStatus.SUCCEEDED,
          ending: { kind: EndingKind.EXITED },
          actionDigest: digest,
          logDigest: digest,
        },
      }),
    ];
  });
  const tasks = names.map((name) => ({
    stage: "build",
    name,
    command: { arguments: ["/bin/sh", "-e", "-c", "make"] },
  }));
  const manual = { stage: "release", name: "gate", gate: { title: "release?" } };
  const deadline = timestampFromMs(Date.now() + 7 * 24 * 60 * 60 * 1000);
  return [
    event({ case: "runRequested", value: { pipeline: "bench", source: digest } }),
    event({ case: "runPlanned", value: { tasks: isFinished ? tasks : [...tasks, manual] } }),
    ...steps,
    ...(isFinished ? [] : [event({ case: "gateOpened", value: { task: "release/gate", deadline } })]),
    ...(isFinished ? [event({ case: "runFinished", value: { status: RunStatus.SUCCEEDED } })] : []),
  ];
}
