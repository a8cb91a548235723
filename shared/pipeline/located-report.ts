import { limits } from "../limits.ts";
import { placeOf } from "./format-problem.ts";
import { type Place, positionOf } from "./located.ts";
import type { Problem } from "./pipeline.ts";

/** Collects what is wrong with a file on the way to its tasks. */
export interface LocatedReport {
  (at: Place, message: string, hint?: string): void;
  add(problem: Problem): void;
  /** Each once, at most `limits.pipelineProblems`: variants of one task have the same faults at the same place. */
  problems(): readonly Problem[];
}

export function locatedReport(mainFile: string): LocatedReport {
  const found = new Map<string, Problem>();
  const add = (problem: Problem): void => {
    if (found.size >= limits.pipelineProblems) return;
    found.set(`${placeOf(problem)}:${problem.message}`, problem);
  };
  const report = (at: Place, message: string, hint?: string): void => {
    const problem = { file: mainFile, ...positionOf(at, mainFile), message };
    add(hint === undefined ? problem : { ...problem, hint });
  };
  return Object.assign(report, { add, problems: () => [...found.values()] });
}
