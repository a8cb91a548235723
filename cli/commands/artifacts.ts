import { createWriteStream } from "node:fs";
import { chmod } from "node:fs/promises";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Command } from "commander";
import type { Artifact } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Cas } from "../../shared/cas/cas.ts";
import { grpcCas } from "../../shared/cas/grpc-cas.ts";
import { digestFromMessage } from "../../shared/digest.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { formatBytes } from "../../shared/format-bytes.ts";
import { makeFolder } from "../../shared/make-folder.ts";
import { layOutTree } from "../../shared/merkle/lay-out.ts";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { fetchRun } from "../fetch-run.ts";
import { processConsole } from "../output/console.ts";
import { artifactJson } from "../output/run-json.ts";
import { table } from "../output/table.ts";
import { parseRunName } from "../run-name.ts";

interface ArtifactsOptions extends ConnectionOptions {
  readonly output?: string;
  readonly json?: boolean;
}

/** `millrace artifacts`. */
export function artifactsCommand(): Command {
  return withConnectionOptions(new Command("artifacts"))
    .description("List what a run has made, or fetch it: each artifact into a folder of its own name.")
    .argument("<run>", "the run, as 12 or run_12")
    .argument("[name]", "only this artifact")
    .option("-o, --output <dir>", "fetch into this folder")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace artifacts 12 app --output out   # gives out/app/…")
    .action(artifacts);
}

async function artifacts(runText: string, name: string | undefined, options: ArtifactsOptions): Promise<void> {
  const console = processConsole();
  const { output } = options;
  const wantedRun = parseRunName(runText);
  await withConnection(options, async (connection) => {
    const run = await fetchRun(connection, wantedRun);
    const made = run.tasks.flatMap((task) => task.artifacts);
    const wanted = name === undefined ? made : made.filter((artifact) => artifact.name === name);
    if (name !== undefined && wanted.length === 0) throw unknownArtifact(run.name, name, made);

    if (output !== undefined) {
      const cas = grpcCas({ transport: connection.transport });
      for (const artifact of wanted) await fetchArtifact(cas, artifact, join(output, artifact.name));
    }
    const where = (artifact: Artifact) => (output === undefined ? undefined : join(output, artifact.name));
    if (options.json) {
      const listed = wanted.map((artifact) => ({ ...artifactJson(artifact), fetched: where(artifact) }));
      return console.writeJson({ run: run.name, artifacts: listed });
    }
    if (wanted.length === 0) return console.note(`${run.name} has no artifacts`);
    const rows = wanted.map((artifact) => [
      artifact.name,
      artifact.task,
      where(artifact) ?? artifact.path,
      formatBytes(Number(artifact.sizeBytes)),
    ]);
    await console.write(table(["ARTIFACT", "TASK", output === undefined ? "PATH" : "FETCHED", "SIZE"], rows));
  });
}

/** A directory becomes `dir`; a file lands in `dir` under the name that its task gave it. */
async function fetchArtifact(cas: Cas, artifact: Artifact, dir: string): Promise<void> {
  const { case: kind, value } = artifact.content;
  const digest = digestFromMessage(value, `the digest of artifact ${artifact.name}`);
  try {
    makeFolder(dir, 0o777);
    if (kind === "directory") {
      await layOutTree(cas, digest, dir);
      return;
    }
    const file = join(dir, basename(artifact.path));
    await pipeline(Readable.from(cas.read(digest)), createWriteStream(file, { flags: "wx" }));
    if (artifact.isExecutable) await chmod(file, 0o755);
  } catch (error) {
    throw from(error, `fetching artifact ${artifact.name} into ${dir}`);
  }
}

function unknownArtifact(run: string, name: string, made: readonly Artifact[]): MillraceError {
  const known = made.length === 0 ? "it has none" : `it has ${made.map((artifact) => artifact.name).join(", ")}`;
  return new MillraceError("not_found", `${run} has no artifact "${name}"; ${known}`);
}
