import { from } from "../shared/errors.ts";

/** What the command line ends with; scripts depend on it. */
export const exitStatus = {
  success: 0,
  /** The run failed: the farm did its work, a task did not. */
  runFailed: 1,
  /** Wrong usage, an invalid file, something that does not exist. */
  usage: 2,
  /** The farm could not do its work, or the run was cancelled. */
  infrastructure: 3,
} as const;

export type ExitStatus = (typeof exitStatus)[keyof typeof exitStatus];

/** The status for an error, by its code alone. */
export function exitStatusOf(error: unknown): ExitStatus {
  switch (from(error).code) {
    case "invalid_argument":
    case "not_found":
    case "already_exists":
    case "out_of_range":
      return exitStatus.usage;
    default:
      return exitStatus.infrastructure;
  }
}
