import type { GitSource } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { lacksBlobs } from "../../../shared/cas/missing-blobs.ts";
import type { Digest } from "../../../shared/digest.ts";

/** What a run is of. */
export interface RunSource {
  /** Root of the tree, in the CAS. */
  readonly root: Digest;
  /** The commit that it was taken from. */
  readonly git?: GitSource | undefined;
}

/**
 * Brings a source that is not in the CAS yet. Without `whole` it may take it that what it brought before is still there;
 * when that turns out to be wrong it is asked once more, with it.
 */
export type SourceSupplier = (whole: boolean) => Promise<RunSource>;

/** Obtains a source and plans it; once more, from the ground up, when blobs are missing that were thought to be there. */
export async function planSupplied<Plan>(
  source: RunSource | SourceSupplier,
  plan: (source: RunSource) => Promise<Plan>,
): Promise<{ readonly source: RunSource; readonly planned: Plan }> {
  if (typeof source !== "function") return { source, planned: await plan(source) };
  const supplied = await source(false);
  try {
    return { source: supplied, planned: await plan(supplied) };
  } catch (error) {
    if (!lacksBlobs(error)) throw error;
    const whole = await source(true);
    return { source: whole, planned: await plan(whole) };
  }
}

/** Whether an agent took the tree from the repository, and not a client from a folder: an imported commit lists itself. */
export function isImported({ commits }: GitSource): boolean {
  return commits.length > 0;
}
