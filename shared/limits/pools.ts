/** Bounds of pools, which only the coordinator and its command line read. */
export const poolLimits = {
  /** Pools of a farm, and agents of one pool. */
  poolsMax: 100,
  agents: 1_000,
  /** Labels that a pool gives to its agents. */
  labels: 64,
  /** Words of a pool's command, and bytes of each. */
  commandWords: 64,
  commandWordBytes: 4096,
  /** The longest target wait and idle time-out of a pool, and the defaults of both. */
  timeMaxMs: 24 * 60 * 60 * 1000,
  targetWaitMs: 60_000,
  idleTimeoutMs: 5 * 60_000,
  /** For an agent that a pool has asked for to join: a machine has to boot. */
  joinTimeoutMs: 5 * 60_000,
  joinTimeoutMaxMs: 60 * 60_000,
  /** Between two looks at what each pool needs, when nothing happens in between … */
  tickMs: 1_000,
  /** … and from something that happened to the next look: what comes together is looked at once. */
  kickMs: 100,
  /** Between two questions which agents a provider runs, while there are any and nothing has changed. */
  listMs: 15_000,
  /** A provider may need so long to name an agent that it was asked for; before that none is taken for ended. */
  settleMs: 5_000,
  /** First pause after a provider has failed, or an agent of it has not joined; doubles from then on. */
  pauseMs: 1_000,
  /** Longest such pause. */
  pauseMaxMs: 60_000,
  /** What the newest execution, or start of an agent, weighs in a pool's average: the last ten make up nine tenths of it. */
  newestShare: 0.2,
  /** One call of a pool's command; a cloud takes its time. Past it the command is killed and has failed. */
  commandMs: 5 * 60_000,
  /** Output of one such call: the names of all agents of a pool and more. */
  commandOutputBytes: 1024 * 1024,
  /** How long a one-time token for an agent of a pool is good for beyond the join time-out. */
  tokenSpareMs: 60_000,
  /** Between two looks whether a local process that was told to end has ended. */
  processCheckMs: 25,
} as const;
