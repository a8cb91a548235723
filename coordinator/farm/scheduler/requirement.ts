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
}

/** Properties come sorted, so equal platforms give equal keys. */
export function requirementOf(platform: Platform | undefined): Requirement {
  const properties = (platform?.properties ?? []).map(({ name, value }) => ({ name, value }));
  const key = JSON.stringify(properties.map(({ name, value }) => [name, value]));
  return { key, offerKey: key, properties };
}

/** The same, and rather not on this agent. */
export function avoiding({ offerKey, properties, avoids = [] }: Requirement, agentId: string): Requirement {
  const all = [...new Set([...avoids, agentId])].sort();
  return { key: JSON.stringify([offerKey, all]), offerKey, properties, avoids: all };
}

/** Whether an agent with these labels can take it: every property is a label with just that value. */
export function satisfies(
  labels: Readonly<Record<string, string>>,
  requirement: Pick<Requirement, "properties">,
): boolean {
  return requirement.properties.every(({ name, value }) => labels[name] === value);
}

/** For a person: `os=linux, pool=gpu`. */
export function describeRequirement(requirement: Requirement): string {
  return requirement.properties.map(({ name, value }) => `${name}=${value}`).join(", ");
}
