import { randomUUID } from "node:crypto";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { Task } from "../../../proto/gen/millrace/v1/run_pb.ts";
import {
  OfferShellReplySchema,
  OfferShellSchema,
  type OpenShellRequest,
  type OpenShellResponseSchema,
  type ServeShellRequest,
  type ServeShellResponseSchema,
  type ShellService,
  type ShellStart,
} from "../../../proto/gen/millrace/v1/shell_pb.ts";
import type { Bus } from "../../../shared/bus/bus.ts";
import { subjects } from "../../../shared/bus/subjects.ts";
import { type Channel, channel } from "../../../shared/channel.ts";
import type { Clock } from "../../../shared/clock.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { formatDuration } from "../../../shared/pipeline/duration.ts";
import type { Runs } from "../../delivery/run/runs.ts";
import type { AgentRegistry } from "../../farm/agents/agent-registry.ts";
import { principalOf } from "../guard.ts";
import { findTask } from "./find-task.ts";

export interface ShellServiceDeps {
  readonly runs: Pick<Runs, "get">;
  readonly bus: Pick<Bus, "request">;
  readonly agents: Pick<AgentRegistry, "list">;
  readonly clock: Clock;
  /** A shell that nothing goes through for this long is ended. */
  readonly idleMs: number;
}

/** The two sides of one shell. */
interface Line {
  readonly agent: string;
  readonly toAgent: Channel<MessageInitShape<typeof ServeShellResponseSchema>>;
  readonly toPerson: Channel<MessageInitShape<typeof OpenShellResponseSchema>>;
  /** Something went through it: from now on it is ended only after `idleMs` of silence. */
  used(): void;
  /** Ends both sides; the person is told the error. */
  hangUp(error: MillraceError): void;
}

/** ShellService: joins the stream of a person and that of the agent, which was told over the bus to come. */
export function shellService(deps: ShellServiceDeps): ServiceImpl<typeof ShellService> {
  /** By id; at most `limits.shells`. */
  const lines = new Map<string, Line>();
  return {
    async *openShell(requests, { signal }) {
      const messages = requests[Symbol.asyncIterator]();
      const start = await startOf(messages);
      const { task, agent } = await placeOf(deps, start);
      if (lines.size >= limits.shells) {
        throw new MillraceError("resource_exhausted", `${limits.shells} shells are open, which is the most: end one`);
      }
      const id = randomUUID();
      const line = newLine(agent, deps);
      lines.set(id, line);
      const onGone = () => line.hangUp(new MillraceError("canceled", "the client has gone"));
      signal.addEventListener("abort", onGone);
      try {
        await offer(deps.bus, { id, start, task, agent });
        void fromPerson(messages, line).catch((error: unknown) => line.hangUp(from(error, "reading from the client")));
        yield* line.toPerson;
      } finally {
        signal.removeEventListener("abort", onGone);
        onGone();
        lines.delete(id);
      }
    },

    async *serveShell(requests, context) {
      const messages = requests[Symbol.asyncIterator]();
      const first = await messages.next();
      const id = first.done !== true && first.value.kind.case === "shellId" ? first.value.kind.value : "";
      const line = lines.get(id);
      if (line === undefined || line.agent !== principalOf(context).agentId) {
        throw new MillraceError("not_found", `the shell "${id}" was not offered to this agent, or is over`);
      }
      const lost = new MillraceError("unavailable", `the agent "${line.agent}" was lost while its shell was open`);
      void fromAgent(messages, line).then(
        (isFinished) => line.hangUp(isFinished ? new MillraceError("canceled", "the shell has ended") : lost),
        () => line.hangUp(lost),
      );
      yield* line.toAgent;
    },
  };
}

function newLine(agent: string, { clock, idleMs }: Pick<ShellServiceDeps, "clock" | "idleMs">): Line {
  const toAgent: Line["toAgent"] = channel(limits.shellMessages);
  const toPerson: Line["toPerson"] = channel(limits.shellMessages);
  let isOver = false;
  const hangUp = (error: MillraceError) => {
    isOver = true;
    cancelTimer();
    toAgent.end();
    toPerson.end(error);
  };
  const timer = (ms: number, code: "unavailable" | "deadline_exceeded", message: string) =>
    clock.after(ms, () => hangUp(new MillraceError(code, message)));
  const seconds = limits.shellAnswerMs / 1000;
  let cancelTimer = timer(limits.shellAnswerMs, "unavailable", `the agent "${agent}" did not come within ${seconds} s`);
  return {
    ...{ agent, toAgent, toPerson, hangUp },
    used() {
      cancelTimer();
      if (isOver) return;
      const idle = `nothing went through the shell for ${formatDuration(idleMs)}: it was ended, and all that it had started`;
      cancelTimer = timer(idleMs, "deadline_exceeded", idle);
    },
  };
}

async function startOf(messages: AsyncIterator<OpenShellRequest>): Promise<ShellStart> {
  const first = await messages.next();
  if (first.done === true || first.value.kind.case !== "start") {
    throw new MillraceError("invalid_argument", "the first message of a shell is its `start`");
  }
  const start = first.value.kind.value;
  if (start.terminal !== undefined) {
    checkSize(start.terminal);
    if (!/^[\w.+-]{0,64}$/.test(start.terminal.kind)) {
      throw new MillraceError("invalid_argument", "a terminal has a kind as in TERM");
    }
  }
  return start;
}

function checkSize({ rows, columns }: { readonly rows: number; readonly columns: number }): void {
  if ([rows, columns].every((value) => value >= 1 && value <= 1000)) return;
  throw new MillraceError("invalid_argument", "a terminal has from 1 to 1000 rows and columns");
}

/** Which task of the run, and the agent that has it or shall lay it out. */
async function placeOf({ runs, agents }: ShellServiceDeps, start: ShellStart) {
  const { tasks } = await runs.get(start.run);
  const task = findTask(tasks, start);
  const name = `${task.stage}/${task.name}`;
  const agent = start.agent || task.agent;
  if (task.actionDigest === undefined) {
    throw new MillraceError(
      "failed_precondition",
      `${name} of ${start.run} was not prepared: it has no inputs to show`,
    );
  }
  if (agent === "") {
    const what = `${name} of ${start.run} was not executed in this run: name an agent that shall lay its inputs out, with --agent`;
    throw new MillraceError("failed_precondition", what);
  }
  if (agents.list().some(({ info }) => info.id === agent)) return { task, agent };
  const what = `the agent "${agent}" is not there; name another one that can execute ${name} with --agent`;
  throw new MillraceError("failed_precondition", what);
}

interface Offer {
  readonly id: string;
  readonly start: ShellStart;
  readonly task: Task;
  readonly agent: string;
}

/** @throws MillraceError failed_precondition when the agent refuses, unavailable when it does not answer */
async function offer(bus: Pick<Bus, "request">, { id, start, task, agent }: Offer): Promise<void> {
  const { actionDigest, executionId, stage, name } = task;
  const message = create(OfferShellSchema, {
    ...{ shellId: id, executionId, ...(actionDigest && { actionDigest }) },
    volatileEnvironment: { CI: "true", MILLRACE_RUN: start.run, MILLRACE_STAGE: stage, MILLRACE_TASK: name },
    ...(start.terminal && { terminal: start.terminal }),
  });
  const options = { timeoutMs: limits.shellAnswerMs };
  const answer = await bus
    .request(subjects.shell(agent), toBinary(OfferShellSchema, message), options)
    .catch((error: unknown) => {
      throw from(error, `offering a shell to the agent "${agent}"`);
    });
  const { accepted, refusal } = fromBinary(OfferShellReplySchema, answer);
  if (!accepted) throw new MillraceError("failed_precondition", `the agent "${agent}" gives no shell: ${refusal}`);
}

/** A client that has gone looks as if it had ended its stream: the signal of its call tells. */
async function fromPerson(messages: AsyncIterator<OpenShellRequest>, line: Line): Promise<void> {
  for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
    const { kind } = next.value;
    line.used();
    if (kind.case === "input") await line.toAgent.put({ kind: { case: "input", value: checked(kind.value) } });
    if (kind.case === "resize") {
      checkSize(kind.value);
      await line.toAgent.put({ kind });
    }
    if (kind.case === "finishInput") return line.toAgent.put({ kind: { case: "finishInput", value: true } });
  }
  line.hangUp(new MillraceError("canceled", "the client has gone"));
}

/** Whether it said that the shell is over. */
async function fromAgent(messages: AsyncIterator<ServeShellRequest>, line: Line): Promise<boolean> {
  for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
    const { kind } = next.value;
    line.used();
    switch (kind.case) {
      case "opened":
        await line.toPerson.put({ kind });
        break;
      case "output":
        await line.toPerson.put({ kind: { case: "output", value: checked(kind.value) } });
        break;
      case "finished":
        await line.toPerson.put({ kind });
        line.toPerson.end();
        return true;
      default:
        throw new MillraceError("invalid_argument", `an agent says no ${kind.case ?? "empty message"} here`);
    }
  }
  return false;
}

/** What waits for a slow reader is counted in messages, so each of them is bounded. */
function checked(data: Uint8Array): Uint8Array {
  if (data.byteLength <= limits.shellChunkBytes) return data;
  throw new MillraceError("invalid_argument", `a message of a shell has at most ${limits.shellChunkBytes} bytes`);
}
