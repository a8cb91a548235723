import type { ConcurrencyGroup } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../shared/limits.ts";
import { type Group, type Member, placeInLine } from "./group.ts";
import type { Quota } from "./quota.ts";

/** Why somebody waits for a place in a group, for a person: who has one, and who comes before. */
export function describeGroup({ name }: ConcurrencyGroup, { holders, waiting }: Group, member: Member): string {
  const named = [...holders.keys()].slice(0, limits.queueHolders);
  const more = holders.size - named.length;
  const held = `${named.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
  const position = `${placeInLine(waiting, member) + 1} of ${waiting.length} in line`;
  return `the group "${name}" has room for ${member.limit}: held by ${held || "nobody"}; ${position}`;
}

/** Why a task waits for its project's quota, for a person. */
export function describeQuota(project: string, { running, waiting }: Quota, max: number): string {
  let others = 0;
  for (const line of waiting.values()) others += line.length;
  const runs = new Set([...running.values()].map(({ run }) => run));
  const named = [...runs].slice(0, limits.queueHolders).join(", ");
  const more = runs.size > limits.queueHolders ? ` and ${runs.size - limits.queueHolders} more` : "";
  return `the project ${project} may run ${max} tasks at a time and runs ${running.size}, of ${named}${more}; ${others} wait`;
}
