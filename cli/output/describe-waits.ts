import { describeStanding, type WaitReason } from "../wait-reasons.ts";
import { formatDuration } from "./format.ts";
import { safeText } from "./safe-text.ts";
import { table } from "./table.ts";

/** Tasks still open that a person reads of one that needs them; `--json` has all. */
const openShown = 10;

/** For a person: a row for each task that waits, and of one alone what can be done, unless its row says so already. */
export function describeWaits(reasons: readonly WaitReason[]): string {
  const rows = reasons.map(({ task, code, sinceMs, detail, openNeeds, queue }) => {
    const since = sinceMs === null ? "" : formatDuration(sinceMs);
    const standing = queue === undefined ? "" : `: ${describeStanding(queue)}`;
    return [task, code, since, safeText(openOf(openNeeds ?? []) ?? `${detail}${standing}`)];
  });
  const [only] = reasons;
  const isSaid = reasons.length !== 1 || only === undefined || only.advice === "" || only.detail.includes("`millrace ");
  return `${table(["TASK", "WAITS FOR", "SINCE", ""], rows)}${isSaid ? "" : `\n${only.advice}\n`}`;
}

function openOf(needs: NonNullable<WaitReason["openNeeds"]>): string | undefined {
  if (needs.length === 0) return undefined;
  const named = needs.slice(0, openShown).map((need) => `${need.task} (${need.status})`);
  const more = needs.length - named.length;
  return `still open: ${named.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
