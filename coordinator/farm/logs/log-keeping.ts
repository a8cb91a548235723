/** The side of the log store that its keeper sees. */
export interface LogKeeping {
  /** Names of runs that have logs. */
  runs(): Promise<string[]>;
  /**
   * Removes the logs of all attempts of a run that has ended; whoever reads one at the moment gets what he has open. Safe
   * to repeat.
   */
  remove(run: string): Promise<void>;
}
