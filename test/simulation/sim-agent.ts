import { create } from "@bufbuild/protobuf";
import { agentDatabaseSchema } from "../../agent/database.ts";
import { type Assignment, Stopped } from "../../agent/executor/executor.ts";
import { openOutbox } from "../../agent/outbox/outbox.ts";
import { attempts } from "../../agent/session/attempts.ts";
import { type Session, session } from "../../agent/session/session.ts";
import { type AgentInfo, AgentInfoSchema, type JoinFarmResponse } from "../../proto/gen/millrace/v1/agent_pb.ts";
import { type Assign, type Report, ReportSchema } from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind, FailureScope } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Bus } from "../../shared/bus/bus.ts";
import { MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { version } from "../../shared/version.ts";
import type { FaultyBus } from "./faulty-bus.ts";
import type { Judge } from "./judge.ts";
import { simDisk } from "./sim-disk.ts";
import { busOf, type SimHost, type SimProcess, simProcess } from "./sim-process.ts";
import type { World } from "./world.ts";

/** A machine with an agent on it: the agent's own session, attempts and outbox, and tasks that are only time. */
export interface SimAgent extends SimHost {
  readonly id: string;
  /** What it has not done with; to be asked when all should be over. */
  left(): string[];
  /** Reports and host operations that its next start would take up. */
  unsent(): string[];
  close(): void;
}

export interface SimAgentOptions {
  readonly id: string;
  readonly slots: number;
  readonly labels: Readonly<Record<string, string>>;
  /** AgentService.JoinFarm, over a connection that breaks with the coordinator. */
  readonly joinFarm: (info: AgentInfo) => Promise<JoinFarmResponse>;
  readonly connectBus: () => FaultyBus;
  readonly judge: Pick<Judge, "begun" | "unfit">;
}

/** One life of the agent. */
interface Life {
  readonly process: SimProcess;
  readonly connections: FaultyBus[];
  readonly running: Set<string>;
  held: () => readonly { readonly executionId: string }[];
}

export function simAgent(world: World, options: SimAgentOptions): SimAgent {
  const { id, slots, labels, joinFarm, connectBus, judge } = options;
  const { chance, clock } = world;
  const disk = simDisk({ schema: [agentDatabaseSchema], chance, full: () => world.weather().agentDiskFull });
  /** Host operations that were begun and not reported, as the real journal keeps them. */
  const journal = new Map<string, Assign>();
  let life: Life | undefined;
  let isCut = false;
  let starts = 0;

  async function live(own: Life): Promise<void> {
    const { process, connections, running } = own;
    const onError = () => {}; // what the agent copes with is judged by what comes of it
    const info = create(AgentInfoSchema, { id, slots, labels, session: `${id}#${starts}`, version, hostname: id });
    const onChange = () => membership.announce();
    const send: Session["report"] = (...call) => membership.report(...call);
    const database = disk.open(process);
    const outbox = await openOutbox({ database, send, clock: process.clock, onChange, onError });
    const taken = attempts({
      ...{ slots, outbox, clock: process.clock, onChange, onError },
      executor: { execute: (task, stop) => execute({ process, running }, task, stop) },
      async forgetOperation({ executionId }) {
        journal.delete(executionId);
      },
      async operationTakenOver(message) {
        if (journal.has(message.executionId)) journal.set(message.executionId, message);
      },
    });
    own.held = () => taken.held();
    const membership: Session = session({
      ...{ info, attempts: taken, clock: process.clock, onError, onReachable: outbox.kick },
      coordinator: { joinFarm: () => process.answer(inTime(joinFarm(info))) },
      async connectBus(): Promise<Bus> {
        const way = connectBus();
        way.cut(isCut);
        connections.push(way);
        return busOf(process, way);
      },
      onOffer: () => world.fail("nobody offers programs here"),
      disk: () => ({ folder: id, sizeBytes: 100, freeBytes: 100 }),
      onExpelled: (error) => world.fail(`${id} was expelled: ${error.message}`),
    });
    for (const message of journal.values()) taken.resume(message);
    await membership.start();
  }

  /** Takes its time, and ends early when it is told to. */
  function execute({ process, running }: Pick<Life, "process" | "running">, task: Assignment, stop: AbortSignal) {
    const { executionId, epoch, attempt, operation } = task;
    if (operation !== undefined) journal.set(executionId, operation);
    running.add(executionId);
    judge.begun(epoch, id);
    const { promise, resolve } = Promise.withResolvers<Report>();
    const end = (ending: { kind: EndingKind; scope?: FailureScope }): void => {
      running.delete(executionId);
      if (ending.scope === FailureScope.AGENT) judge.unfit(executionId);
      resolve(create(ReportSchema, { agentId: id, executionId, epoch, attempt, ending, result: {} }));
    };
    const cancel = process.clock.after(chance.int(1, 8_000), () => end(endingOf(operation !== undefined)));
    stop.addEventListener("abort", () => {
      cancel();
      const reason: unknown = stop.reason;
      const kind = reason instanceof Stopped ? reason.kind : EndingKind.INFRASTRUCTURE;
      process.clock.after(chance.int(0, 200), () => end({ kind }));
    });
    return promise;
  }

  function inTime(answer: Promise<JoinFarmResponse>): Promise<JoinFarmResponse> {
    const late = new Promise<never>((_, reject) => {
      clock.after(limits.joinTimeoutMs, () => reject(new MillraceError("deadline_exceeded", "JoinFarm: no answer")));
    });
    return Promise.race([answer, late]);
  }

  function endingOf(isOperation: boolean): { kind: EndingKind; scope?: FailureScope } {
    if (isOperation || !chance.one(world.weather().farmFailures)) return { kind: EndingKind.EXITED };
    const scope = chance.pick([FailureScope.UNSPECIFIED, FailureScope.AGENT]);
    return { kind: EndingKind.INFRASTRUCTURE, scope };
  }

  function end(): void {
    life?.process.kill();
    for (const way of life?.connections ?? []) void way.close();
    life = undefined;
  }

  return {
    id,
    get isAlive() {
      return life !== undefined;
    },
    start() {
      starts += 1;
      life = { process: simProcess(clock), connections: [], running: new Set(), held: () => [] };
      live(life).catch((error: unknown) => world.fail(`${id}: ${String(error)}`));
    },
    kill: end,
    stop: () => life?.process.stop(),
    resume: () => life?.process.resume(),
    cut(cut) {
      isCut = cut;
      for (const way of life?.connections ?? []) way.cut(cut);
    },
    left() {
      const running = [...(life?.running ?? [])].map((execution) => `${id} still runs ${execution}`);
      const held = (life?.held() ?? []).map(({ executionId }) => `${id} holds ${executionId}`);
      return [...running, ...held];
    },
    unsent() {
      const rows = disk.peek<{ execution_id: string }>("SELECT execution_id FROM outbox");
      const operations = [...journal.keys()].map((execution) => `${id} has ${execution} in its journal`);
      return [...operations, ...rows.map((row) => `${id} has a report on ${row.execution_id}`)];
    },
    close() {
      end();
      disk.close();
    },
  };
}
