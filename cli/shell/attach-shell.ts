import type { MessageInitShape } from "@bufbuild/protobuf";
import { type OpenShellRequestSchema, ShellService, type Terminal } from "../../proto/gen/millrace/v1/shell_pb.ts";
import { channel } from "../../shared/channel.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { Connection } from "../connection.ts";
import type { Console } from "../output/console.ts";

/** Whose place it is. */
export interface ShellPlace {
  readonly run: string;
  readonly task: string;
  /** Empty: the agent that had the task last. */
  readonly agent: string;
}

/**
 * Joins standard input and output of this process with a shell in the place of a task, and resolves with its exit code.
 * With a terminal on standard input the shell has one, too, and all keys go to it. Standard input is used up.
 * @throws MillraceError unavailable when the farm or the agent is lost while it is open
 */
export async function attachShell(connection: Connection, place: ShellPlace, console: Console): Promise<number> {
  const { stdin } = process;
  const requests = channel<MessageInitShape<typeof OpenShellRequestSchema>>(limits.shellMessages);
  const ending = new AbortController();
  const terminal = stdin.isTTY ? terminalOf(console) : undefined;
  await requests.put({ kind: { case: "start", value: { ...place, ...(terminal && { terminal }) } } });
  try {
    for await (const { kind } of connection.client(ShellService).openShell(requests, { signal: ending.signal })) {
      switch (kind.case) {
        case "opened":
          console.note(console.colors.dim(aboutOpened(kind.value)));
          if (terminal !== undefined) {
            stdin.setRawMode(true);
            process.stdout.on("resize", follow);
            follow(); // it may have changed since the request was made
          }
          void forward().catch((error: unknown) => {
            if (!ending.signal.aborted) requests.end(from(error, "reading standard input"));
          });
          break;
        case "output":
          await console.write(kind.value);
          break;
        case "finished":
          if (kind.value.detail !== "") throw new MillraceError("unavailable", `the shell ended: ${kind.value.detail}`);
          return kind.value.exitCode;
        default: // of a newer coordinator
      }
    }
    throw new MillraceError("unavailable", "the connection to the shell ended before the shell did");
  } finally {
    if (terminal !== undefined) stdin.setRawMode(false);
    process.stdout.off("resize", follow);
    ending.abort();
    requests.end();
    stdin.destroy();
  }

  function follow(): void {
    void requests.put({ kind: { case: "resize", value: sizeOf(console) } });
  }

  async function forward(): Promise<void> {
    for await (const data of stdin as AsyncIterable<Uint8Array>) {
      for (let at = 0; at < data.byteLength; at += limits.shellChunkBytes) {
        await requests.put({ kind: { case: "input", value: data.subarray(at, at + limits.shellChunkBytes) } });
      }
    }
    await requests.put({ kind: { case: "finishInput", value: true } });
  }
}

function terminalOf(console: Console): Pick<Terminal, "rows" | "columns" | "kind"> {
  return { ...sizeOf(console), kind: process.env.TERM ?? "dumb" };
}

function sizeOf(console: Console) {
  const bounded = (value: number) => Math.min(Math.max(value, 1), 1000);
  return { rows: bounded(process.stdout.rows || 24), columns: bounded(console.columns()) };
}

function aboutOpened({ agent, asLeft }: { readonly agent: string; readonly asLeft: boolean }): string {
  const files = asLeft ? "the files are as the task left them" : "the inputs were laid out anew";
  return `shell on ${agent}: ${files}; what was to run is in $MILLRACE_SCRIPT`;
}
