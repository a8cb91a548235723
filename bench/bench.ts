import { execFileSync } from "node:child_process";
import { cpus, loadavg } from "node:os";

/** One figure of a benchmark: all its samples, in the order in which they were taken. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly samples: readonly number[];
  /** What performance.md asks for, as text; empty where there is no target. */
  readonly target: string;
}

/** What `npm run bench -- <name>` prints and keeps. */
export interface BenchReport {
  readonly bench: string;
  readonly commit: string;
  readonly machine: string;
  /** Of the last minute, at the end: a busy machine explains a bad figure. */
  readonly load: number;
  readonly figures: readonly { name: string; unit: string; min: number; median: number; max: number; target: string }[];
}

/** Sums figures up, with where and at which commit they were taken. */
export function report(bench: string, figures: readonly Figure[]): BenchReport {
  const commit = execFileSync("git", ["describe", "--always", "--dirty"], { encoding: "utf8" }).trim();
  const [cpu] = cpus();
  return {
    bench,
    commit,
    machine: `${cpus().length} x ${cpu?.model ?? "unknown"}, Node ${process.versions.node}`,
    load: loadavg()[0] ?? 0,
    figures: figures.map(({ name, unit, samples, target }) => {
      const sorted = samples.toSorted((a, b) => a - b);
      return { name, unit, min: at(sorted, 0), median: at(sorted, 0.5), max: at(sorted, 1), target };
    }),
  };
}

/** The report as a table for people. */
export function table({ bench, commit, machine, load, figures }: BenchReport): string {
  const rows = figures.map(({ name, unit, min, median, max, target }) =>
    [name, unit, ...[min, median, max].map((value) => value.toPrecision(4)), target].join(" | "),
  );
  return [
    `${bench} at ${commit} on ${machine}, load ${load.toFixed(1)}`,
    "figure | unit | min | median | max | target",
    "--- | --- | --- | --- | --- | ---",
    ...rows,
  ].join("\n");
}

/** The sample at a quantile from 0 to 1 of ascending samples. */
export function at(sorted: readonly number[], quantile: number): number {
  return sorted[Math.round(quantile * (sorted.length - 1))] ?? Number.NaN;
}
