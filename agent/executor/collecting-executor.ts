import { create } from "@bufbuild/protobuf";
import { EndingKind, EndingSchema } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Cas } from "../../shared/cas/cas.ts";
import { uploadSnapshot } from "../../shared/merkle/upload-tree.ts";
import { packedWarnings } from "../../shared/output-warnings.ts";
import type { Patiently } from "../retry.ts";
import { refuseSecretsInTasks, warnOfSecrets } from "../secrets/search-outputs.ts";
import type { LocalStore } from "../store/local-store.ts";
import { collectOutputs } from "./collect-outputs.ts";
import type { Conclusion, Executor, LaidOutTask } from "./executor.ts";
import { promisedOutputs } from "./output-paths.ts";

/**
 * Keeps the outputs: hashes them, uploads what the farm lacks, copies them for the next task here, names them in the result. A process that failed keeps
 * what it left, which is often what explains the failure; one that exited 0 must have left all that it promised.
 */
export function collectingExecutor(
  base: Executor<LaidOutTask>,
  farm: Pick<Cas, "findMissing" | "write" | "writeMany">,
  { store, patiently }: { readonly store: Pick<LocalStore, "keep">; readonly patiently: Patiently },
): Executor<LaidOutTask> {
  return {
    async execute(task, stop) {
      const promised = promisedOutputs(task.command);
      const done = await base.execute(task, stop);
      if (!isWorthKeeping(done) || promised.length === 0) return done;
      const started = task.time.now();
      const look = await task.root.look();
      try {
        const hidden = task.masking?.now();
        if (hidden !== undefined) {
          await refuseSecretsInTasks(promised, { root: look.path, masking: hidden, signal: stop });
        }
        const collected = await collectOutputs(look.path, promised, stop);
        const { files, directories, symlinks, snapshot, problems } = collected;
        if (hidden !== undefined) {
          const warned = { root: look.path, masking: hidden, spool: task.spool, signal: stop };
          done.times.auxiliaryMetadata.push(...packedWarnings(await warnOfSecrets(collected, warned)));
        }
        const kept = store.keep(snapshot, stop);
        try {
          await patiently(stop, "uploading outputs", () => uploadSnapshot(farm, snapshot, { signal: stop }));
        } finally {
          await kept; // it reads where the look leads
        }
        done.result.outputFiles.push(...files);
        done.result.outputDirectories.push(...directories);
        done.result.outputSymlinks.push(...symlinks);
        const { kind, exitCode } = done.ending;
        if (problems.length > 0 && kind === EndingKind.EXITED && exitCode === 0) {
          done.ending = create(EndingSchema, { kind: EndingKind.OUTPUT_MISSING, detail: problems.join("; ") });
        }
      } finally {
        await look.close();
      }
      done.times.outputUploadStartTimestamp = started;
      done.times.outputUploadCompletedTimestamp = task.time.now();
      return done;
    },
  };
}

function isWorthKeeping({ ending }: Conclusion): boolean {
  return ending.kind !== EndingKind.CANCELLED && ending.kind !== EndingKind.INFRASTRUCTURE;
}
