import { execFileSync } from "node:child_process";
import { cpus, loadavg } from "node:os";

/** One figure of a benchmark: all its samples, in the order in which they were taken. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  /** Empty where it could not be measured; `note` then says why. */
  readonly samples: readonly number[];
  /**
   * What is asked for, as `<= 250` or `>= 300`, which the median is held against; other text is only shown. Empty where
   * nothing is asked for, as of a peer.
   */
  readonly target: string;
  /** What a reader must know beside the number, for example `not installed`. */
  readonly note?: string;
}

/** A figure summed up. The numbers are absent where it was not measured. */
interface FigureSummary {
  readonly name: string;
  readonly unit: string;
  readonly samples: number;
  readonly min?: number;
  readonly median?: number;
  readonly max?: number;
  readonly target: string;
  /** Absent where nothing can be held against the target. */
  readonly met?: boolean;
  readonly note?: string;
}

/** What `npm run bench -- <name>` prints and keeps. */
export interface BenchReport {
  readonly bench: string;
  readonly commit: string;
  readonly machine: string;
  /** At which our tasks ran; absent where none did. Where a bench measures several, its figures name them. */
  readonly sandbox?: string;
  /** Of the last minute, when the bench began (what others did) and ended: a busy machine explains a bad figure. */
  readonly load: { readonly before: number; readonly after: number };
  readonly figures: readonly FigureSummary[];
}

/** What a bench measured. */
export interface Measured {
  readonly sandbox?: string;
  readonly figures: readonly Figure[];
}

/** Measures, and sums up with where and at which commit it was done. */
export async function report(bench: string, measure: () => Promise<Measured>): Promise<BenchReport> {
  const before = loadavg()[0] ?? 0;
  const { sandbox, figures } = await measure();
  const [cpu] = cpus();
  return {
    bench,
    commit: execFileSync("git", ["describe", "--always", "--dirty"], { encoding: "utf8" }).trim(),
    machine: `${cpus().length} x ${cpu?.model ?? "unknown"}, Node ${process.versions.node}`,
    ...(sandbox === undefined ? {} : { sandbox }),
    load: { before, after: loadavg()[0] ?? 0 },
    figures: figures.map(summary),
  };
}

function summary({ name, unit, samples, target, note }: Figure): FigureSummary {
  const noted = note === undefined ? {} : { note };
  if (samples.length === 0) return { name, unit, samples: 0, target, ...noted };
  const sorted = samples.toSorted((a, b) => a - b);
  const median = at(sorted, 0.5);
  const met = isMet(median, target);
  return {
    ...{ name, unit, samples: samples.length, min: at(sorted, 0), median, max: at(sorted, 1), target },
    ...(met === undefined ? {} : { met }),
    ...noted,
  };
}

function isMet(value: number, target: string): boolean | undefined {
  const [, relation, bound] = /^(<=|>=) ([\d.]+)$/.exec(target) ?? [];
  if (relation === undefined) return undefined;
  return relation === "<=" ? value <= Number(bound) : value >= Number(bound);
}

/** The report as a table for people, in Markdown, under a line that says where it was taken. */
export function table({ bench, commit, machine, sandbox, load, figures }: BenchReport): string {
  const rows = figures.map(({ name, unit, min, median, max, target, met, note }) => {
    const numbers = [min, median, max].map((value) => (value === undefined ? "-" : rounded(value)));
    return [name, unit, ...numbers, target, met === undefined ? "" : met ? "met" : "**missed**", note ?? ""];
  });
  const head = ["figure", "unit", "min", "median", "max", "target", "", "note"];
  const level = sandbox === undefined ? "" : `, sandbox ${sandbox}`;
  const loads = `load ${load.before.toFixed(1)} before, ${load.after.toFixed(1)} after`;
  return [
    `\`npm run bench -- ${bench}\` at ${commit} on ${machine}${level}, ${loads}`,
    "",
    ...[head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`),
  ].join("\n");
}

/** Four digits that count, never as a power of ten. */
function rounded(value: number): string {
  return Math.abs(value) >= 1_000 ? String(Math.round(value)) : String(Number(value.toPrecision(4)));
}

/** The sample at a quantile from 0 to 1 of ascending samples. */
export function at(sorted: readonly number[], quantile: number): number {
  return sorted[Math.round(quantile * (sorted.length - 1))] ?? Number.NaN;
}

/** The quantile of samples in any order. */
export function quantile(samples: readonly number[], share: number): number {
  return at(
    samples.toSorted((a, b) => a - b),
    share,
  );
}

/** How long it takes, in milliseconds. */
export async function timed(run: () => Promise<unknown> | undefined): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

/** Stops the bench when a run did not do what it was measured for: a figure of a wrong result is worse than none. */
export function must(right: boolean, otherwise: string): asserts right {
  if (!right) throw new Error(`the bench is void: ${otherwise}`);
}
