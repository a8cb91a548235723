import type { Platform } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";

/** What an execution asks of an agent. */
export interface Requirement {
  /** Equal for equal requirements: executions that ask for the same wait in one line. */
  readonly key: string;
  /** Equal for those that the same agents satisfy, whatever is avoided. */
  readonly offerKey: string;
  readonly properties: readonly { readonly name: string; readonly value: string }[];
  /** Ids of agents that get it only when no other could have it. */
  readonly avoids?: readonly string[];
  /** Ids of agents that never get it. */
  readonly excludes?: readonly string[];
}

/** Properties come sorted, so equal platforms give equal keys. @param excluded agents that never get it */
export function requirementOf(platform: Platform | undefined, excluded: readonly string[] = []): Requirement {
  const properties = (platform?.properties ?? []).map(({ name, value }) => ({ name, value }));
  const offerKey = JSON.stringify(properties.map(({ name, value }) => [name, value]));
  if (excluded.length === 0) return { key: offerKey, offerKey, properties };
  const excludes = [...new Set(excluded)].sort();
  return { key: JSON.stringify([offerKey, [], excludes]), offerKey, properties, excludes };
}

/** The same, and rather not on this agent. */
export function avoiding(requirement: Requirement, agentId: string): Requirement {
  const { offerKey, avoids = [], excludes = [] } = requirement;
  const all = [...new Set([...avoids, agentId])].sort();
  return { ...requirement, key: JSON.stringify([offerKey, all, excludes]), avoids: all };
}

/** Whether an agent with these labels can take it: every property is a label with just that value. */
export function satisfies(
  labels: Readonly<Record<string, string>>,
  requirement: Pick<Requirement, "properties">,
): boolean {
  return requirement.properties.every(({ name, value }) => labels[name] === value);
}

/** For a person: `os=linux, pool=gpu`. */
export function describeRequirement({ properties }: Requirement): string {
  return properties.map(({ name, value }) => `${name}=${value}`).join(", ");
}
