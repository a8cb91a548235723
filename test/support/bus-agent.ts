import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { ActionResultSchema } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { type AgentInfo, AgentInfoSchema, type ToolSchema } from "../../proto/gen/millrace/v1/agent_pb.ts";
import {
  type Assign,
  AssignReplySchema,
  AssignSchema,
  type Cancel,
  CancelReplySchema,
  CancelSchema,
  GoodbyeSchema,
  HeartbeatSchema,
  ImportPhase,
  type ReportOutcome,
  ReportReplySchema,
  ReportSchema,
} from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind, type EndingSchema } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Bus } from "../../shared/bus/bus.ts";
import { subjects } from "../../shared/bus/subjects.ts";
import { version } from "../../shared/version.ts";

/** The far side of the bus: speaks an agent's protocol and runs nothing, so a test decides what it says and when. */
export interface BusAgent {
  readonly info: AgentInfo;
  /** The next assignment that is accepted, in order. */
  nextAssign(): Promise<Assign>;
  /** The next request to cancel. */
  nextCancel(): Promise<Cancel>;
  /** Says that it lives and holds these; default: all it has accepted and not reported. */
  heartbeat(held?: readonly (Assign & { readonly importPhase?: ImportPhase })[]): void;
  /** Reports an ending, default exit code 0; resolves with what the coordinator makes of it. */
  report(
    assign: Assign & { readonly begun?: boolean; readonly result?: MessageInitShape<typeof ActionResultSchema> },
    ending?: MessageInitShape<typeof EndingSchema>,
  ): Promise<ReportOutcome>;
  goodbye(): void;
  /** Stops listening, as a machine that lost its power. */
  silence(): void;
  /** From now on assignments are answered so; `silence` answers nothing. */
  answer: "accept" | "refuse" | "silence";
}

export interface BusAgentOptions {
  readonly id: string;
  readonly slots?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly features?: readonly string[];
  readonly tools?: readonly MessageInitShape<typeof ToolSchema>[];
  readonly session?: string;
  readonly ephemeral?: boolean;
}

export async function busAgent(
  bus: Bus,
  { id, slots = 1, labels = {}, features = [], tools = [], session = "s1", ephemeral = false }: BusAgentOptions,
): Promise<BusAgent> {
  const info = create(AgentInfoSchema, {
    ...{ id, slots, labels, session, ephemeral, version, hostname: "test" },
    features: [...features],
    tools: [...tools],
  });
  const held = new Map<string, Assign>();
  const assigns = inbox<Assign>();
  const cancels = inbox<Cancel>();

  const agent: BusAgent = {
    info,
    answer: "accept",
    nextAssign: () => assigns.take(),
    nextCancel: () => cancels.take(),
    heartbeat(holding = [...held.values()]) {
      const message = create(HeartbeatSchema, {
        agentId: id,
        session,
        held: holding.map(({ executionId, epoch, ...more }) => ({
          ...{ executionId, importPhase: ("importPhase" in more && more.importPhase) || ImportPhase.UNSPECIFIED },
          ...(epoch === undefined ? {} : { epoch }),
        })),
      });
      bus.publish(subjects.heartbeat(id), toBinary(HeartbeatSchema, message));
    },
    async report({ executionId, epoch, attempt, begun = false, result = {} }, ending = { kind: EndingKind.EXITED }) {
      const message = create(ReportSchema, {
        agentId: id,
        executionId,
        attempt,
        ending,
        result,
        begun,
        ...(epoch === undefined ? {} : { epoch }),
      });
      const reply = await bus.request(subjects.report(id), toBinary(ReportSchema, message), { timeoutMs: 5_000 });
      held.delete(executionId);
      return fromBinary(ReportReplySchema, reply).outcome;
    },
    silence: () => undefined,
    goodbye() {
      const message = create(GoodbyeSchema, { agentId: id, session });
      bus.publish(subjects.goodbye(id), toBinary(GoodbyeSchema, message));
    },
  };

  const ends: (() => void)[] = [];
  agent.silence = () => {
    for (const end of ends) end();
  };
  const endAssigns = await bus.subscribe(subjects.assign(id), ({ data, reply }) => {
    const assign = fromBinary(AssignSchema, data);
    if (agent.answer === "silence") return;
    const accepted = agent.answer === "accept";
    reply(toBinary(AssignReplySchema, create(AssignReplySchema, { accepted, refusal: accepted ? "" : "full" })));
    if (!accepted) return;
    held.set(assign.executionId, assign);
    assigns.put(assign);
  });
  const endCancels = await bus.subscribe(subjects.cancel(id), ({ data, reply }) => {
    const cancel = fromBinary(CancelSchema, data);
    reply(toBinary(CancelReplySchema, create(CancelReplySchema, { known: held.has(cancel.executionId) })));
    cancels.put(cancel);
  });
  ends.push(endAssigns, endCancels);
  return agent;
}

function inbox<T>() {
  const values: T[] = [];
  const takers: ((value: T) => void)[] = [];
  return {
    put(value: T) {
      const taker = takers.shift();
      if (taker === undefined) values.push(value);
      else taker(value);
    },
    take(): Promise<T> {
      const value = values.shift();
      return value === undefined ? new Promise((resolve) => takers.push(resolve)) : Promise.resolve(value);
    },
  };
}
