import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { EndingKind } from "../../proto/gen/millrace/v1/event_pb.ts";
import {
  type OfferShell,
  type OfferShellReply,
  OfferShellReplySchema,
  type ServeShellRequestSchema,
  type ShellService,
} from "../../proto/gen/millrace/v1/shell_pb.ts";
import { type Channel, channel } from "../../shared/channel.ts";
import type { Clock } from "../../shared/clock.ts";
import { digestFromMessage } from "../../shared/digest.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { conclusion, type Executor, type LaidOutTask, type LoggedTask, taskTime } from "../executor/executor.ts";
import type { KeptTrees } from "./kept-trees.ts";
import type { ShellInput, ShellPlan, ShellStreams } from "./shell-process.ts";

/** Gives shells to people who were let in by the coordinator. */
export interface ShellServer {
  /** Answers at once; the shell follows on a stream of its own. Must not throw. */
  offer(message: OfferShell): OfferShellReply;
  /** Ends all shells; resolves when nothing of them is left. */
  close(): Promise<void>;
}

export interface ShellServerOptions {
  readonly client: Pick<Client<typeof ShellService>, "serveShell">;
  readonly agentId: string;
  readonly kept: Pick<KeptTrees, "take">;
  /** Reads and lays out a task, has `use` run in it, and takes the place away again. */
  readonly layOut: (use: Executor<LaidOutTask>) => Executor<LoggedTask>;
  readonly run: (plan: ShellPlan, streams: ShellStreams, stop: AbortSignal) => Promise<number>;
  readonly clock: Clock;
  readonly onError: (error: MillraceError) => void;
}

type Outgoing = Channel<MessageInitShape<typeof ServeShellRequestSchema>>;

/** At most `limits.shells` at a time. */
export function shellServer(options: ShellServerOptions): ShellServer {
  const { client, agentId, kept, run, onError } = options;
  const closing = new AbortController();
  const running = new Set<Promise<void>>();

  async function runKept(
    task: LaidOutTask,
    plan: Omit<ShellPlan, "task" | "isMounted">,
    streams: ShellStreams,
    stop: AbortSignal,
  ) {
    try {
      return await run({ ...plan, task, isMounted: true }, streams, stop);
    } finally {
      task.root.remove();
    }
  }

  async function runAnew(offer: OfferShell, streams: ShellStreams, stop: AbortSignal): Promise<number> {
    let exitCode = 0;
    const inside = options.layOut({
      async execute(task) {
        exitCode = await run({ task, offer, isMounted: false }, streams, stop);
        return conclusion({ kind: EndingKind.CANCELLED, detail: "it was a shell" }); // no mark on caches
      },
    });
    await inside.execute(loggedTask(offer, options.clock), stop);
    return exitCode;
  }

  async function serve(offer: OfferShell): Promise<void> {
    const hungUp = new AbortController();
    const call = new AbortController();
    const stop = AbortSignal.any([hungUp.signal, closing.signal]);
    const outgoing: Outgoing = channel(limits.shellMessages);
    const input = channel<ShellInput>(limits.shellMessages);
    const listening = (async () => {
      await outgoing.put({ kind: { case: "shellId", value: offer.shellId } });
      for await (const { kind } of client.serveShell(outgoing, { signal: call.signal })) {
        if (kind.case === "input" || kind.case === "resize") await input.put(kind);
        if (kind.case === "finishInput") input.end();
      }
    })().catch((error: unknown) => {
      if (!call.signal.aborted) onError(from(error, "serving a shell"));
    });
    void listening.finally(() => {
      hungUp.abort(new MillraceError("canceled", "nobody is there any more"));
      input.end();
      outgoing.end();
    });
    const streams = { input, output: (value: Uint8Array) => outgoing.put({ kind: { case: "output", value } }) };
    const left = kept.take(offer.executionId);
    await outgoing.put({ kind: { case: "opened", value: { agent: agentId, asLeft: left !== undefined } } });
    const finished = await (left === undefined
      ? runAnew(offer, streams, stop)
      : runKept(left, { offer }, streams, stop)
    )
      .then((exitCode) => ({ exitCode, detail: closing.signal.aborted ? "its agent was shut down" : "" }))
      .catch((error: unknown) => ({ exitCode: 126, detail: from(error).message }));
    await outgoing.put({ kind: { case: "finished", value: finished } });
    outgoing.end();
    const late = options.clock.after(limits.shellAnswerMs, () => call.abort());
    await listening;
    late();
  }

  return {
    offer(offer) {
      if (closing.signal.aborted) return refuse("the agent ends");
      if (running.size >= limits.shells) return refuse(`the agent has ${limits.shells} shells open, which is the most`);
      // The answer goes first.
      const serving: Promise<void> = new Promise<void>((resolve) => setImmediate(resolve))
        .then(() => serve(offer))
        .catch((error: unknown) => onError(from(error, "serving a shell")))
        .finally(() => running.delete(serving));
      running.add(serving);
      return create(OfferShellReplySchema, { accepted: true });
    },
    async close() {
      closing.abort(new MillraceError("canceled", "the agent ends"));
      await Promise.all(running);
    },
  };
}

function refuse(refusal: string): OfferShellReply {
  return create(OfferShellReplySchema, { accepted: false, refusal });
}

/** As if it were to be executed once more, for nobody. */
function loggedTask({ shellId, actionDigest, volatileEnvironment }: OfferShell, clock: Clock): LoggedTask {
  return {
    ...{ executionId: shellId, attempt: 0, spool: "", blobs: [], volatileEnvironment },
    epoch: { $typeName: "millrace.v1.Epoch", term: 0n, number: 0n },
    actionDigest: digestFromMessage(actionDigest, "action_digest"),
    time: taskTime(clock),
  };
}
