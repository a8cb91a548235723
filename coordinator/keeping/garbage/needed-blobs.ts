import { fromBinary } from "@bufbuild/protobuf";
import { ActionSchema } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import type { Ranking } from "../../../shared/cas/cas-keeping.ts";
import { type Digest, type DigestKey, digestFromMessage, digestKey } from "../../../shared/digest.ts";
import { from } from "../../../shared/errors.ts";
import { walkDirectories } from "../../../shared/merkle/load-tree.ts";
import type { RunState } from "../../delivery/run/run-state.ts";
import { isOpen } from "../../delivery/run/task-state.ts";

/** A blob, or a whole tree by its root Directory. */
export interface BlobRoot {
  readonly digest: Digest;
  readonly isTree: boolean;
}

type DigestMessage = Parameters<typeof digestFromMessage>[0];

/** What people may ask for of a finished run: the artifacts of its last tries, and what its events name of all of them. */
export function keptRoots({ tasks, recorded }: Pick<RunState, "tasks" | "recorded">): BlobRoot[] {
  const roots: BlobRoot[] = [];
  for (const { outcome } of tasks.values()) {
    for (const { content } of outcome?.artifacts ?? []) add(roots, content.value, content.case === "directory");
  }
  for (const digest of recorded) add(roots, digest, false);
  return roots;
}

/** What a run that goes on still needs: its source, what its tasks were planned with, and all that it has made so far. */
export function activeRoots(state: Pick<RunState, "source" | "tasks" | "recorded">): BlobRoot[] {
  const roots = keptRoots(state);
  add(roots, state.source, true);
  for (const { planned } of state.tasks.values()) {
    add(roots, planned.commandDigest, false);
    add(roots, planned.inputRootDigest, true);
  }
  return roots;
}

/** Actions that were handed to the farm: their inputs hold artifacts, put together for them alone. */
export function submittedActions({ tasks }: Pick<RunState, "tasks">): Digest[] {
  return [...tasks.values()].flatMap((task) =>
    isOpen(task) && task.actionDigest !== undefined ? [digestFromMessage(task.actionDigest)] : [],
  );
}

function add(roots: BlobRoot[], digest: DigestMessage, isTree: boolean): void {
  if (digest !== undefined) roots.push({ digest: digestFromMessage(digest), isTree });
}

/** Ranks roots with all that is below them; a tree that was seen with the same or a greater rank is not walked again. */
export function rootRanker(ranking: Ranking & Pick<Cas, "readMany">, signal: AbortSignal) {
  const walked = new Map<DigestKey, number>();

  async function rankRoot({ digest, isTree }: BlobRoot, rank: number): Promise<void> {
    if (!isTree) return void ranking.rank([digest], rank);
    const key = digestKey(digest);
    if ((walked.get(key) ?? 0) >= rank) return;
    walked.set(key, rank);
    // What is absent cannot be kept; a run that needs it says so when it gets there.
    const walk = walkDirectories(ranking, digest, { onMissing: () => undefined, signal });
    try {
      for await (const { blob, nodes } of walk) {
        const files = [...nodes.values()].flatMap((node) => (node.kind === "file" ? [node.digest] : []));
        ranking.rank([blob.digest, ...files], rank);
      }
    } catch (error) {
      // A tree that nobody can read is no reason to keep garbage for ever.
      const { code } = from(error);
      if (code !== "invalid_argument" && code !== "data_loss") throw error;
    }
  }

  return {
    rankRoot,
    /** An Action with its Command and its inputs. */
    async rankAction(digest: Digest, rank: number): Promise<void> {
      const data = (await ranking.readMany([digest], signal)).get(digestKey(digest));
      ranking.rank([digest], rank);
      if (data === undefined) return;
      const { commandDigest, inputRootDigest } = fromBinary(ActionSchema, data);
      if (commandDigest !== undefined) ranking.rank([digestFromMessage(commandDigest)], rank);
      if (inputRootDigest !== undefined)
        await rankRoot({ digest: digestFromMessage(inputRootDigest), isTree: true }, rank);
    },
  };
}
