import { Document, isMap, isScalar, Pair, Scalar } from "yaml";
import { pipelineName } from "../starter.ts";

/** Something of a foreign file that the language does not say, or says otherwise. */
export interface ImportGap {
  readonly line: number;
  /** What it is, and what to do about it. */
  readonly message: string;
}

/** Tells of a gap. */
export type ReportGap = (line: number, message: string) => void;

/** A task as an import makes it; keys as in a pipeline file. */
export interface DraftTask {
  run: string;
  needs?: string[];
  use?: ({ artifact: string; path: string } | string)[];
  outputs?: Record<string, string>;
  env?: Record<string, string>;
  secrets?: Record<string, string>;
  timeout?: string;
  agents?: Record<string, string>;
  tools?: Record<string, string>;
  caches?: Record<string, string>;
  services?: Record<string, DraftService>;
  retry?: number | { times: number; on?: string[]; infrastructure?: number };
  allow_failure?: boolean;
  concurrency?: string | { group: string; limit?: number; policy?: string };
  matrix?: Record<string, unknown>;
  shards?: number;
  when?: string;
}

/** A program beside a task. */
export interface DraftService {
  run: string;
  ready?: { tcp: string };
  env?: Record<string, string>;
}

/** A pipeline as an import makes it. */
export interface Draft {
  name: string;
  on?: Record<string, unknown>;
  params?: Record<string, Record<string, unknown>>;
  concurrency?: string | { group: string; policy?: string };
  defaults?: { env?: Record<string, string> };
  stages: Map<string, { needs?: string[]; tasks: Map<string, DraftTask> }>;
}

/** The order in which the keys of a task are written. */
const keys = [
  ...["when", "matrix", "shards", "run", "needs", "use", "outputs", "env", "secrets", "tools", "agents"],
  ...["caches", "services", "timeout", "retry", "allow_failure", "concurrency"],
] as const satisfies (keyof DraftTask)[];

/** The text of the pipeline file, with the gaps above it. */
export function draftText(draft: Draft, file: string, gaps: readonly ImportGap[]): string {
  const stages = [...draft.stages].map(([name, { needs, tasks }]) => {
    const written = [...tasks].map(([task, all]) => [task, orderedTask(all)] as const);
    return [name, { ...(needs === undefined ? {} : { needs }), tasks: Object.fromEntries(written) }] as const;
  });
  const { name, on, params, concurrency, defaults } = draft;
  const whole = compact({ name, on, params, concurrency, defaults, stages: Object.fromEntries(stages) });
  const document = new Document(whole);
  flowLists(document.contents);
  const body = document.toString({ lineWidth: 120, flowCollectionPadding: true });
  return `${[`# From ${file}, by \`millrace init --from\`.`, ...gapLines(file, gaps)].join("\n")}\n${body}`;
}

function gapLines(file: string, gaps: readonly ImportGap[]): string[] {
  if (gaps.length === 0)
    return ["# Everything in it was translated. State `inputs` for each task: without them, any change runs all."];
  return [
    "# What could not be translated, or means something else here:",
    ...gaps.map(({ line, message }) => `#   ${file}:${line}: ${message.replaceAll("\n", " ")}`),
    "# Then state `inputs` for each task: without them, any change runs all.",
  ];
}

function orderedTask(task: DraftTask): Record<string, unknown> {
  return compact(Object.fromEntries(keys.map((key) => [key, task[key]])));
}

function compact(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(record).filter(([, value]) => {
      if (value === undefined) return false;
      return typeof value !== "object" || value === null || Object.keys(value).length > 0;
    }),
  );
}

/** Short lists and mappings of scalars are written on one line, as people do. */
function flowLists(node: unknown): boolean {
  if (isScalar(node)) {
    if (typeof node.value === "string" && node.value.includes("\n")) node.type = Scalar.BLOCK_LITERAL;
    return !(typeof node.value === "string" && node.value.includes("\n"));
  }
  if (node instanceof Pair) return flowLists(node.value);
  const items: unknown[] = isMap(node) ? node.items : ((node as { items?: unknown[] } | null)?.items ?? []);
  const small = items.map(flowLists).every(Boolean) && items.length > 0;
  const leaves = items.every((item) => isScalar(item instanceof Pair ? item.value : item));
  if (!small || !leaves || items.length > 6) return false;
  (node as { flow?: boolean }).flow = true;
  return true;
}

/** Names that a pipeline may have, each once, for names of another system. */
export function draftNames(): (foreign: string) => string {
  const byForeign = new Map<string, string>();
  const taken = new Set<string>();
  return (foreign) => {
    const known = byForeign.get(foreign);
    if (known !== undefined) return known;
    const base = pipelineName(foreign);
    let name = base;
    for (let number = 2; taken.has(name); number++) name = `${base.slice(0, 58)}-${number}`;
    byForeign.set(foreign, name);
    taken.add(name);
    return name;
  };
}

/** A name that expressions can read, of a dimension or parameter. */
export function identifier(text: string): string {
  const name = text.replace(/[^A-Za-z0-9_]/g, "_").slice(0, 62);
  return /^[0-9]/.test(name) ? `_${name}` : name;
}

/** A literal of an expression. */
export function celString(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'").replaceAll("\n", "\\n")}'`;
}

/** A script that a shell of more than POSIX runs: ours is `/bin/sh -e`. */
export function scriptFor(script: string): string {
  const text = script.replace(/\n+$/, "");
  if (!needsBash(text)) return text.includes("\n") ? `${text}\n` : text;
  return `cat > .steps.sh <<'END_OF_STEPS'\n${text}\nEND_OF_STEPS\nbash -e .steps.sh\n`;
}

function needsBash(text: string): boolean {
  return /\[\[ |<<<|\bpipefail\b|\bshopt\b|^\s*(source|declare|mapfile|readarray|function) |\$\{[A-Za-z_]\w*(\[|\/|,,|\^\^|:[0-9])|\w\+?=\(|<\(|\$'|&>|\|&|\{[0-9]+\.\.[0-9]+\}/m.test(
    text,
  );
}
