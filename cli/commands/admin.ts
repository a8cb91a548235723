import { once } from "node:events";
import { resolve } from "node:path";
import { Command } from "commander";
import { AdminService, type BackupEnd } from "../../proto/gen/millrace/v1/admin_pb.ts";
import { MillraceError } from "../../shared/errors.ts";
import { formatBytes } from "../../shared/format-bytes.ts";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { type Console, processConsole } from "../output/console.ts";
import { counted } from "../output/format.ts";
import { type StatusLine, statusLine } from "../output/status-line.ts";
import { table } from "../output/table.ts";

interface AdminOptions extends ConnectionOptions {
  readonly json?: boolean;
}

interface RestoreCommandOptions {
  readonly data: string;
  readonly json?: boolean;
}

/** What `admin restore` does to folders; it is the coordinator's to know how. */
export type Restore = (options: {
  readonly backup: string;
  readonly data: string;
  readonly signal: AbortSignal;
  onProgress(bytes: number, expectedBytes: number): void;
}) => Promise<{
  readonly files: readonly unknown[];
  readonly bytes: number;
  readonly createdMs: number;
  readonly lost: readonly string[];
}>;

interface BackupOptions extends AdminOptions {
  readonly withSecretKey?: boolean;
}

/** `millrace admin`: what operators do to a farm as a whole. */
export function adminCommand({ restore }: { readonly restore: Restore }): Command {
  const command = new Command("admin")
    .description("Back up and restore a farm, and keep it in order. Needs a token of an admin.")
    .addHelpText("after", "\nExample:\n  $ millrace admin backup /backup/monday\n\nMore: docs/guides/operations.md");
  withConnectionOptions(command.command("backup"))
    .description("Copy all that the coordinator keeps into a folder of its machine, while it works.")
    .argument("<folder>", "on the coordinator's machine, named from the root; new or empty")
    .option("--with-secret-key", "copy the key of the secrets, too: whoever has the backup can then read them")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace admin backup /backup/monday")
    .action(backUp);
  command
    .command("restore")
    .description("Put a backup into an empty folder, for a coordinator to go on there. Every byte is checked.")
    .argument("<folder>", "of the backup")
    .requiredOption(
      "--data <dir>",
      "the coordinator's folder that is to be: of `millrace up --data D` it is D/coordinator",
    )
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      "\nExample:\n  $ millrace admin restore /backup/monday --data /srv/millrace/coordinator && millrace up --data /srv/millrace",
    )
    .action((folder: string, options: RestoreCommandOptions) => restoreInto(restore, folder, options));
  withConnectionOptions(command.command("gc"))
    .description("Remove what its time is over for, as the coordinator does by itself every hour.")
    .option("--dry-run", "only say what would go")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace admin gc --dry-run")
    .action(collectGarbage);
  withConnectionOptions(command.command("rebuild"))
    .description("Throw away what was folded from the event log and fold it anew, while the coordinator works.")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace admin rebuild")
    .action(rebuild);
  return command;
}

async function backUp(folder: string, options: BackupOptions): Promise<void> {
  const console = processConsole();
  const progress = progressLine(console, "backing up");
  let end: BackupEnd | undefined;
  try {
    await withConnection(options, async ({ client }) => {
      for await (const { step } of client(AdminService).backup({
        folder,
        withSecretKey: options.withSecretKey ?? false,
      })) {
        if (step.case === "finish") end = step.value;
        if (step.case === "progress") progress.show(Number(step.value.bytes), Number(step.value.expectedBytes));
      }
    });
  } finally {
    await progress.close();
  }
  if (end === undefined) throw new MillraceError("aborted", "the coordinator ended the backup half-way: try again");
  const { lostBlobs: lost } = end;
  const [files, bytes] = [Number(end.files), Number(end.bytes)];
  if (options.json) return console.writeJson({ folder, files, bytes, lost });
  await console.write(`${folder}: ${counted(files, "file")}, ${formatBytes(bytes)}\n`);
  noteLost(console, lost);
}

async function restoreInto(restore: Restore, folder: string, { data, json }: RestoreCommandOptions): Promise<void> {
  const console = processConsole();
  const progress = progressLine(console, "restoring");
  const interrupted = new AbortController();
  const interrupt = once(process, "SIGINT", { signal: interrupted.signal });
  interrupt.then(
    () => interrupted.abort(new MillraceError("canceled", "interrupted; nothing was restored")),
    () => undefined, // it ended before
  );
  try {
    const summary = await restore({
      backup: resolve(folder),
      data: resolve(data),
      signal: interrupted.signal,
      onProgress: progress.show,
    });
    const { bytes, lost } = summary;
    const files = summary.files.length;
    const createTime = new Date(summary.createdMs).toISOString();
    await progress.close();
    if (json) return await console.writeJson({ data: resolve(data), files, bytes, createTime, lost });
    await console.write(`${resolve(data)}: ${counted(files, "file")}, ${formatBytes(bytes)}, as of ${createTime}\n`);
    noteLost(console, lost);
  } finally {
    await progress.close();
    interrupted.abort();
  }
}

async function collectGarbage({ dryRun = false, ...options }: AdminOptions & { dryRun?: boolean }): Promise<void> {
  const console = processConsole();
  const gone = await withConnection(options, ({ client }) => client(AdminService).collectGarbage({ dryRun }));
  const { runNames } = gone;
  const [runs, runLogs, cachedResults, blobs] = [gone.runs, gone.runLogs, gone.cachedResults, gone.blobs].map(Number);
  const [blobBytes, compactedBytes, storeBytes] = [gone.blobBytes, gone.compactedBytes, gone.storeBytes].map(Number);
  const storeBytesMax = gone.storeBytesMax === 0n ? null : Number(gone.storeBytesMax);
  const counts = {
    runs,
    runNames,
    runLogs,
    cachedResults,
    blobs,
    blobBytes,
    compactedBytes,
    storeBytes,
    storeBytesMax,
  };
  if (options.json) return console.writeJson({ dryRun, ...counts });
  const rows = [
    ["runs", String(runs), runNames.join(" ")],
    ["logs of further runs", String(runLogs), ""],
    ["cached results", String(cachedResults), ""],
    ["blobs", String(blobs), formatBytes(blobBytes ?? 0)],
  ];
  await console.write(table([dryRun ? "WOULD GO" : "GONE", "COUNT", ""], rows));
  const most = storeBytesMax === null ? "" : ` of at most ${formatBytes(storeBytesMax)}`;
  const compacted = dryRun ? "" : `, ${formatBytes(compactedBytes ?? 0)} of it won back by compaction`;
  console.note(`the store takes ${formatBytes(storeBytes ?? 0)}${most}${compacted}`);
}

async function rebuild(options: AdminOptions): Promise<void> {
  const console = processConsole();
  const answer = await withConnection(options, ({ client }) => client(AdminService).rebuildProjections({}));
  const [commits, runs, changed] = [Number(answer.commits), Number(answer.runs), Number(answer.changed)];
  const candidates = Number(answer.candidates);
  if (options.json) return console.writeJson({ commits, runs, candidates, changed });
  const difference = changed === 0 ? "all as they were" : `${changed} not as they were`;
  const folded = `${counted(runs, "run")} and ${counted(candidates, "approved candidate")}`;
  await console.write(`${folded} folded from ${counted(commits, "commit")}, ${difference}\n`);
}

function noteLost(console: Console, lost: readonly string[]): void {
  if (lost.length === 0) return;
  console.note(`${counted(lost.length, "blob")} had been lost before and will be missing: ${lost.join(", ")}`);
}

/** "backing up: 1.2 GiB of 4.0 GiB", redrawn on a terminal. */
function progressLine(
  console: Console,
  doing: string,
): { show(bytes: number, of: number): void } & Pick<StatusLine, "close"> {
  let text = doing;
  const line = statusLine(console, () => text);
  let closing: Promise<void> | undefined;
  return {
    show(bytes, of) {
      text = `${doing}: ${formatBytes(bytes)}${of === 0 ? "" : ` of ${formatBytes(Math.max(bytes, of))}`}`;
    },
    close: () => (closing ??= line.close()),
  };
}
