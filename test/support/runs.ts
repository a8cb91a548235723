import { pack } from "tar-stream";
import { expect } from "vitest";
import type { Assign } from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import type { RunRequest } from "../../proto/gen/millrace/v1/run_pb.ts";
import type { BusAgent } from "./bus-agent.ts";
import type { Clients } from "./coordinator.ts";

/** A tar of these files. */
export async function tarOf(files: Readonly<Record<string, string>>): Promise<Buffer> {
  const packer = pack();
  for (const [name, text] of Object.entries(files)) packer.entry({ name }, text);
  packer.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of packer as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

type Part = Parameters<Clients["runs"]["submitRunArchive"]>[0] extends AsyncIterable<infer P> ? P : never;

/** What SubmitRunArchive takes. */
export async function* archive(
  tar: Buffer,
  start: Partial<RunRequest> = {},
  totalBytes = tar.byteLength,
): AsyncGenerator<Part> {
  yield { part: { case: "start", value: start as never } };
  yield { part: { case: "chunk", value: tar } };
  yield { part: { case: "finish", value: { totalBytes: BigInt(totalBytes) } } };
}

/** Submits a pipeline without any other file; gives the run's name. */
export async function submitText(
  { runs }: Pick<Clients, "runs">,
  text: string,
  start: Partial<RunRequest> = {},
): Promise<string> {
  return (await runs.submitRunArchive(archive(await tarOf({ "millrace.yaml": text }), start))).run;
}

/** Sends the output of an attempt as an agent does, then reports success. */
export async function work(agent: BusAgent, { logs }: Clients, assign: Assign, text: string): Promise<void> {
  const { executionId, attempt } = assign;
  async function* chunks() {
    yield { executionId, attempt, offset: 0n, data: Buffer.from(text), finish: true };
  }
  for await (const answer of logs.appendLog(chunks())) expect(answer.finished).toBe(true);
  await agent.report(assign);
}
