import type { ProjectQuotas } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";

/** What a task of the project may ask for at most. */
export function clampPriority(priority: number, { priorityMax }: ProjectQuotas): number {
  return Math.min(priority, priorityMax ?? priority);
}

export interface RunRoomDeps {
  readonly quotasOf: (project: string) => ProjectQuotas;
  /** How many runs of a project have begun and not finished. */
  readonly unfinishedOf: (project: string) => number;
}

/** Holds projects to their quota of unfinished runs. */
export interface RunRoom {
  /**
   * Starts a run, which counts from now on. Throws `resource_exhausted` when the project may not have one more.
   * @param start resolves when the run is among the unfinished
   */
  within<T>(project: string, start: () => Promise<T>): Promise<T>;
}

export function runRoom({ quotasOf, unfinishedOf }: RunRoomDeps): RunRoom {
  /** Runs that are being started, so that many at once do not all find the last place free. */
  const starting = new Map<string, number>();
  const change = (project: string, by: number): void => {
    const count = (starting.get(project) ?? 0) + by;
    if (count > 0) starting.set(project, count);
    else starting.delete(project);
  };
  return {
    async within(project, start) {
      const { unfinishedRuns: max } = quotasOf(project);
      const unfinished = max === 0 ? 0 : unfinishedOf(project) + (starting.get(project) ?? 0);
      if (max > 0 && unfinished >= max) {
        const message = `the project ${project} has ${unfinished} unfinished runs, and its quota is ${max}`;
        const advice = "wait until one has finished, or cancel one (`millrace runs`)";
        throw new MillraceError("resource_exhausted", `${message}: ${advice}`);
      }
      change(project, 1);
      try {
        return await start();
      } finally {
        change(project, -1);
      }
    },
  };
}
