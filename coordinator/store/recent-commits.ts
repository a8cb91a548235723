import { limits } from "../../shared/limits.ts";
import type { StoredCommit } from "./event-store.ts";

/**
 * What watchers read from. The last commits are kept decoded and shared, so that a thousand watchers who keep up cost
 * one read of the table; one who fell behind reads pages of his own until he has caught up. No watcher has a queue:
 * however slow he is, he costs no memory and loses nothing.
 */
export interface RecentCommits {
  /**
   * Some commits that follow `position`, without a hole; none when there are none. `version` counts the appends: what
   * was appended up to that version is not missed.
   */
  after(position: number, version: number): Promise<StoredCommit[]>;
}

/** `readAfter` gives up to `limits.eventPageCommits` commits that follow a position, and fewer only at the end. */
export function recentCommits(readAfter: (position: number) => Promise<StoredCommit[]>): RecentCommits {
  /** All commits with positions in (start, end], in order. */
  let kept: StoredCommit[] = [];
  let start = 0;
  let end = 0;
  /** What was appended up to this version lies at or before `end`. */
  let complete = -1;
  let extending: Promise<void> | undefined;

  async function extend(version: number): Promise<void> {
    const commits = await readAfter(end);
    if (commits.length < limits.eventPageCommits) complete = version;
    kept.push(...commits);
    end = commits.at(-1)?.position ?? end;
    if (kept.length > 2 * limits.recentCommits) {
      const dropped = kept.splice(0, kept.length - limits.recentCommits);
      start = dropped.at(-1)?.position ?? start;
    }
  }

  async function ownPage(position: number): Promise<StoredCommit[]> {
    const commits = await readAfter(position);
    const last = commits.at(-1);
    if (last !== undefined && position > end) {
      // Nobody else is as near to the present: what is kept begins anew here.
      kept = [...commits];
      start = position;
      end = last.position;
    }
    return commits;
  }

  return {
    async after(position, version) {
      while (position === end && complete < version) {
        // Those who come while a read is on its way share it, then look whether it was late enough for them.
        extending ??= extend(version).finally(() => {
          extending = undefined;
        });
        await extending;
      }
      if (position < start || position > end) return ownPage(position);
      const first = kept.findLastIndex((commit) => commit.position <= position) + 1; // from the end, where watchers are
      return kept.slice(first, first + limits.eventPageCommits);
    },
  };
}
