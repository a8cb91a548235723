import { compareUtf8 } from "../merkle/tree-path.ts";
import type { Problem, Task } from "./pipeline.ts";

/** What one connected agent has. */
export interface ToolOffer {
  readonly labels: Readonly<Record<string, string>>;
  readonly tools: readonly OfferedTool[];
}

/** A program on a machine; see the message Tool in agent.proto. */
export interface OfferedTool {
  readonly name: string;
  readonly version: string;
  readonly fingerprint: string;
}

/** Fingerprints by tool, or why there are none. */
export type ToolResolution =
  | { readonly fingerprints: Readonly<Record<string, string>> }
  | { readonly problem: Omit<Problem, "file"> };

const newestFirst = new Intl.Collator("en", { numeric: true });

/**
 * Decides which tools a task runs with, so that its key says so: all from one agent that has its labels too, the newest
 * where there is a choice. Pure; the order of the offers does not matter.
 */
export function resolveTools(task: Task, offers: readonly ToolOffer[]): ToolResolution {
  if (task.tools.length === 0) return { fingerprints: {} };
  const fitting = offers.filter(({ labels }) =>
    Object.entries(task.agents).every(([name, value]) => labels[name] === value),
  );
  const sets = fitting.flatMap((offer) => chosenFrom(task, offer) ?? []);
  const [best] = sets.sort((a, b) => newestFirst.compare(keyOf(b), keyOf(a)));
  if (best === undefined) return { problem: explain(task, fitting) };
  return { fingerprints: Object.fromEntries(best.map(({ name, fingerprint }) => [name, fingerprint])) };
}

/** `24` takes `24.21.0` and not `241.0`. */
function fits(version: string, wanted: string): boolean {
  return wanted === "any" || version === wanted || version.startsWith(`${wanted}.`);
}

function chosenFrom(task: Task, { tools }: ToolOffer): [OfferedTool[]] | undefined {
  const chosen = task.tools.map(({ name, version }) =>
    tools.find((tool) => tool.name === name && fits(tool.version, version)),
  );
  const all = chosen.flatMap((tool) => tool ?? []);
  return all.length === chosen.length ? [all] : undefined;
}

/** Tools of a task are sorted by name, so equal sets have equal keys. */
function keyOf(tools: readonly OfferedTool[]): string {
  return tools.map(({ fingerprint }) => fingerprint).join(" ");
}

/** The first tool that nobody has, with what there is of it; else that no agent has all at once. */
function explain(task: Task, offers: readonly ToolOffer[]): Omit<Problem, "file"> {
  for (const { name, version, position } of task.tools) {
    const offered = offers.flatMap(({ tools }) => tools.filter((tool) => tool.name === name));
    if (offered.some((tool) => fits(tool.version, version))) continue;
    const versions = [...new Set(offered.map((tool) => tool.version))].sort(newestFirst.compare);
    const wanted = version === "any" ? name : `${name} ${version}`;
    const hint =
      versions.length > 0
        ? `they have ${name} ${versions.join(", ")}`
        : `they have ${namesOf(offers)}; others are announced with \`millrace agent --tool\``;
    const message =
      offers.length === 0
        ? `no agent with the labels of this task is connected to offer ${wanted}`
        : `no connected agent offers ${wanted}`;
    return { ...position, message, ...(offers.length === 0 ? { hint: "see `millrace agents`" } : { hint }) };
  }
  const [first] = task.tools;
  const position = first?.position ?? task.position;
  const wanted = task.tools.map(({ name, version }) => (version === "any" ? name : `${name} ${version}`)).join(", ");
  return {
    ...position,
    message: `no single connected agent offers all of ${wanted}`,
    hint: "see `millrace agents --json`",
  };
}

function namesOf(offers: readonly ToolOffer[]): string {
  const names = new Set(offers.flatMap(({ tools }) => tools.map(({ name }) => name)));
  return names.size === 0 ? "no tools at all" : [...names].sort(compareUtf8).join(", ");
}
