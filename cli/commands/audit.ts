import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Command, InvalidArgumentError } from "commander";
import { type AuditRecord, AuditService } from "../../proto/gen/millrace/v1/audit_pb.ts";
import { limits } from "../../shared/limits.ts";
import { type Connection, withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { exitStatus } from "../exit-status.ts";
import { numberFromOne, since } from "../option-values.ts";
import { processConsole } from "../output/console.ts";
import { isoTime } from "../output/labels.ts";
import { safeText } from "../output/safe-text.ts";
import { table } from "../output/table.ts";

interface AuditOptions extends ConnectionOptions {
  readonly since?: number;
  readonly project?: string;
  readonly limit: number;
  readonly json?: boolean;
}

interface VerifyOptions extends ConnectionOptions {
  readonly expect?: { readonly sequence: bigint; readonly hash: string };
  readonly json?: boolean;
}

/** `millrace audit`. */
export function auditCommand(): Command {
  const command = withConnectionOptions(new Command("audit"))
    .description("List who changed what, or was refused it, newest first. Needs a token of an admin.")
    .option(
      "--since <time>",
      "only what came since: a time such as 2026-11-30T08:00:00Z, or how long ago, as 2h",
      since,
    )
    .option("--project <name>", "only of this project")
    .option("-n, --limit <count>", "how many at most", numberFromOne, 100)
    .option("--json", "print one JSON object a line")
    .addHelpText("after", "\nExamples:\n  $ millrace audit --since 24h --project shop\n  $ millrace audit verify")
    .action(listRecords);
  withConnectionOptions(command.command("verify"))
    .description("Read all records again, and say whether any was changed, removed or moved since it was written.")
    .option(
      "--expect <sequence:hash>",
      "what an earlier call has printed: that record must still be the same",
      parseLink,
    )
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace audit verify   # note what it prints outside the farm")
    // An option that the list has, too, is taken by the list: hence with globals.
    .action((_options: unknown, self: Command) => verify(self.optsWithGlobals()));
  return command;
}

async function listRecords(options: AuditOptions): Promise<void> {
  const console = processConsole();
  await withConnection(options, async (connection) => {
    const rows: string[][] = [];
    for await (const record of records(connection, options)) {
      if (options.json) await console.writeJson(recordJson(record));
      else rows.push(rowOf(record));
    }
    if (options.json) return;
    if (rows.length === 0) return console.note("there are no records of this kind");
    await console.write(table(["AUDIT", "TIME", "BY", "PROJECT", "CALL", "ABOUT", "OUTCOME", ""], rows));
  });
}

/** A page may be empty and have one after it. */
async function* records({ client }: Connection, { since: sinceMs, project = "", limit }: AuditOptions) {
  const audit = client(AuditService);
  const from = sinceMs === undefined ? {} : { since: timestampFromMs(sinceMs) };
  let left = limit;
  let pageToken = "";
  do {
    const pageSize = Math.min(left, limits.listPage);
    const page = await audit.listAuditRecords({ project, pageSize, pageToken, ...from });
    yield* page.records;
    left -= page.records.length;
    pageToken = page.nextPageToken;
  } while (pageToken !== "" && left > 0);
}

function recordJson({ sequence, time, principal, method, target, project, outcome, detail }: AuditRecord) {
  const said = { principal, method, target, project, outcome, detail };
  return { sequence: Number(sequence), time: isoTime(time), ...said };
}

function rowOf({ sequence, time, principal, method, target, project, outcome, detail }: AuditRecord): string[] {
  const call = method.slice(method.lastIndexOf(".") + 1);
  const said = [principal, project, call, target, outcome, detail].map(safeText);
  return [String(sequence), isoTime(time) ?? "", ...said];
}

async function verify({ expect, ...options }: VerifyOptions): Promise<void> {
  const console = processConsole();
  const expected = expect === undefined ? {} : { expectedSequence: expect.sequence, expectedHash: expect.hash };
  const verdict = await withConnection(options, ({ client }) => client(AuditService).verifyAudit(expected));
  const { records: count, headSequence, headHash, fault, faults } = verdict;
  if (fault !== undefined) process.exitCode = exitStatus.runFailed;
  const head = headHash === "" ? "" : `${headSequence}:${headHash}`;
  if (options.json) {
    const all = faults.map(({ sequence, reason }) => ({ sequence: Number(sequence), reason }));
    return console.writeJson({ records: Number(count), head, fault: all[0] ?? null, faults: all });
  }
  if (fault !== undefined) {
    for (const { sequence, reason } of faults) console.note(`record ${sequence} ${safeText(reason)}`);
    const last = head === "" ? "" : `; the last one is ${head}`;
    return console.note(`the chain is broken at record ${fault.sequence}; ${count} records could be read${last}`);
  }
  await console.write(`${count} records, all as they were written; the last one is ${head}\n`);
}

function parseLink(text: string): { sequence: bigint; hash: string } {
  const [, sequence, hash] = /^([1-9]\d{0,14}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (sequence !== undefined && hash !== undefined) return { sequence: BigInt(sequence), hash };
  throw new InvalidArgumentError("Give SEQUENCE:HASH, as `millrace audit verify` prints it.");
}
