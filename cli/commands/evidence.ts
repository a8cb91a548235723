import { createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Command } from "commander";
import type { AddEvidenceRequestSchema, Gate, GateEvidence, Run } from "../../proto/gen/millrace/v1/run_pb.ts";
import { grpcCas } from "../../shared/cas/grpc-cas.ts";
import { digestFromMessage } from "../../shared/digest.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { formatBytes } from "../../shared/format-bytes.ts";
import { limits } from "../../shared/limits.ts";
import { makeFolder } from "../../shared/make-folder.ts";
import { type Connection, withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { fetchRun } from "../fetch-run.ts";
import { unreadableFile } from "../named-file.ts";
import { processConsole } from "../output/console.ts";
import { evidenceJson } from "../output/run-json.ts";
import { safeText } from "../output/safe-text.ts";
import { table } from "../output/table.ts";
import { parseRunName } from "../run-name.ts";

interface EvidenceOptions extends ConnectionOptions {
  readonly output?: string;
  readonly json?: boolean;
}

/** `millrace evidence`. */
export function evidenceCommand(): Command {
  return withConnectionOptions(new Command("evidence"))
    .description("Lay files beside the open gate of a manual stage, for others to look at; or list and fetch them.")
    .argument("<run>", "the run, as 12 or run_12")
    .argument("<stage>", "the manual stage")
    .argument("[file...]", `files to add, each up to ${formatBytes(limits.evidenceBytes)}; none: list what is there`)
    .option("-o, --output <dir>", "fetch what is there into this folder")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      "\nExamples:\n  $ millrace evidence 12 explore checkout.png notes.md\n  $ millrace evidence 12 explore --output seen",
    )
    .action(evidence);
}

async function evidence(
  runText: string,
  stage: string,
  files: readonly string[],
  options: EvidenceOptions,
): Promise<void> {
  const console = processConsole();
  const name = parseRunName(runText);
  const there = await withConnection(options, async (connection) => {
    for (const file of files) await add(connection, { run: name, stage, file });
    const found = gateOf(await fetchRun(connection, name), stage).evidence;
    if (options.output !== undefined) await fetchAll(connection, found, options.output);
    return found;
  });
  if (options.json) return console.writeJson({ run: name, stage, evidence: there.map(evidenceJson) });
  if (there.length === 0) return console.note(`there is no evidence beside ${stage} of ${name}`);
  const rows = there.map((it) => [
    safeText(options.output === undefined ? it.name : join(options.output, it.name)),
    formatBytes(Number(it.digest?.sizeBytes ?? 0)),
    it.principal,
    it.digest?.hash ?? "",
  ]);
  await console.write(table(["EVIDENCE", "SIZE", "BY", "DIGEST"], rows));
}

async function add(
  { runs }: Connection,
  { run, stage, file }: { readonly run: string; readonly stage: string; readonly file: string },
): Promise<void> {
  const handle = await open(file).catch((error: unknown) => {
    throw unreadableFile(error, file);
  });
  try {
    const stat = await handle.stat();
    const { size } = stat;
    if (!stat.isFile()) throw new MillraceError("invalid_argument", `${file} is no file: give each file by itself`);
    if (size > limits.evidenceBytes) {
      const most = formatBytes(limits.evidenceBytes);
      throw new MillraceError("invalid_argument", `${file} has ${formatBytes(size)}; evidence has at most ${most}`);
    }
    await runs.addEvidence(
      messagesOf({ run, stage, name: basename(file) }, handle.createReadStream({ autoClose: false })),
    );
  } finally {
    await handle.close();
  }
}

async function* messagesOf(
  value: { readonly run: string; readonly stage: string; readonly name: string },
  content: AsyncIterable<Buffer>,
): AsyncGenerator<MessageInitShape<typeof AddEvidenceRequestSchema>> {
  yield { part: { case: "start", value } };
  let totalBytes = 0n;
  for await (const chunk of content) {
    totalBytes += BigInt(chunk.byteLength);
    yield { part: { case: "chunk", value: chunk } };
  }
  yield { part: { case: "finish", value: { totalBytes } } };
}

/** Names were checked when they came in; what is a path by now is not written anywhere. */
async function fetchAll({ transport }: Connection, found: readonly GateEvidence[], dir: string): Promise<void> {
  const cas = grpcCas({ transport });
  makeFolder(dir, 0o777);
  for (const { name, digest } of found) {
    const file = join(dir, basename(name));
    const content = Readable.from(cas.read(digestFromMessage(digest, `the digest of ${name}`)));
    await pipeline(content, createWriteStream(file, { flags: "wx" })).catch((error: unknown) => {
      throw from(error, `writing ${file}`);
    });
  }
}

function gateOf(run: Run, stage: string): Gate {
  const gate = run.tasks.find((task) => task.stage === stage && task.gate !== undefined)?.gate;
  if (gate !== undefined) return gate;
  throw new MillraceError("not_found", `${run.name} has no manual stage "${stage}"`);
}
