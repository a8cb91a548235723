/** Bounds between the coordinator and its agents: leases, enrolment, logs. */
export const dispatchLimits = {
  /** Of an Assign, for inlined blobs. The rest is for its other fields. */
  assignInlineBytes: 192 * 1024,
  /** Of an Assign, for its sealed secrets; inlined blobs get what they leave. */
  sealedSecretsBytes: 192 * 1024,
  /** An agent answers an Assign within milliseconds; past this it is asked no more and another is tried. */
  assignTimeoutMs: 2_000,
  /** A report is answered after one group commit. */
  reportTimeoutMs: 5_000,
  /** Between heartbeats of an agent. */
  heartbeatIntervalMs: 2_000,
  /** Heartbeats that come within this time are answered together. */
  heartbeatAnswersMs: 20,
  /** An agent that is silent for this long is lost; `coordinator --lease` sets another, and the heartbeats follow it. */
  leaseMs: 10_000,
  /** The shortest lease that can be set: five heartbeats, each with time to be answered on a busy machine. */
  leaseMinMs: 1_000,
  /** The longest: what a task waits for at most before it is placed again. */
  leaseMaxMs: 10 * 60 * 1000,
  /** An agent that is lost for this long is forgotten: a machine that is gone for a month will not come back as it was. */
  lostAgentKeptMs: 30 * 24 * 60 * 60 * 1000,
  /** Between looks for enrolments that nobody will use any more. The first is as long after a start: who was away may join. */
  enrolmentLookMs: 60 * 60 * 1000,
  /** An ephemeral agent that was let in and did not join within this time will not: it joins in seconds, or its machine is gone. */
  ephemeralEnrolmentMs: 60 * 60 * 1000,
  /** An enrolment token that states no time: long enough to walk to a machine. */
  enrolmentTokenMs: 60 * 60 * 1000,
  /** A token that was used or is expired is known for this long, so that whoever tries it hears what is wrong with it. */
  spentTokensKeptMs: 7 * 24 * 60 * 60 * 1000,
  /** A removed agent is known for this long, for the same reason. */
  removedAgentsKeptMs: 30 * 24 * 60 * 60 * 1000,
  /** Of what a machine calls itself: the most that DNS allows. */
  hostnameChars: 253,
  /** Earlier starts of an agent's process that are known as such; one that comes back is told who took over. */
  supersededSessions: 16,
  /** Placements that are remembered, some 100 bytes each: late output may come with an agent that was lost long ago. */
  placementsKept: 200_000,
  /** Placements between two looks whether there are more. */
  placementsSwept: 1_000,
  /** Logs of one stream of an agent that are known to be its own; with more, they are looked up again. */
  admittedLogs: 10_000,
  /** An agent whose heartbeats have no answer for this long ends its host operations. */
  hostOperationLeaseMs: 30_000,
  /** Between an agent's looks whether that time has run out: its timers do not count the time asleep. */
  operationLeaseLookMs: 1_000,
  /** Heartbeat intervals of grace after the bus or our own loop stood still. */
  graceHeartbeats: 3,
  /** Our own loop stood still when the timer of a look for silent agents comes this much late. */
  stallMs: 1_000,
  /** Placements of one execution after agents were lost or refused; on a budget of its own. */
  infrastructureAttempts: 4,
  /** An agent that failed at something rests this long before it is given more; doubled each time. */
  agentRestMs: 1_000,
  /** The longest such rest. */
  agentRestMaxMs: 60_000,
  /** A message of a log stream. */
  logChunkBytes: 64 * 1024,
  /** A log chunk is sent at the latest after this. */
  logFlushMs: 50,
  /** Unacknowledged log bytes an agent has in flight; the rest waits in the spool. */
  logInFlightBytes: 4 * 1024 * 1024,
  /** A coordinator that has taken nothing of a log that waits for this long is away. */
  logCutOffMs: 5_000,
  /** What an agent keeps of the output of running tasks for a coordinator that is away, unless told otherwise. */
  spoolBytes: 256 * 1024 * 1024,
  /** The least that can be said instead. */
  spoolBytesMin: 1024 * 1024,
  /** For how long tasks go on, and what they have made waits, while the coordinator is away. */
  farmAwayMs: 60 * 60 * 1000,
  /** Between an agent's looks at what waits. */
  spoolCheckMs: 1_000,
  /** The output of one attempt; beyond it the log ends with a marker and the rest is dropped. */
  logBytes: 4 * 1024 * 1024 * 1024,
  /** Logs that the store holds open, each with two descriptors; the least recently used idle one makes room. */
  openLogs: 1_000,
  /** Logs that are brought to disk at the same time: half of libuv's four threads, so that other files get theirs. */
  logSyncs: 2,
  /** Chunks of one stream that are on their way to the disk: what an agent may have in flight. */
  logAppendsAhead: 64,
  /** What a reader of a log takes from the disk at a time. */
  logReadBytes: 256 * 1024,
  /** Logs of one run that are read at a time for one reader; at least as many as attempts run at a time, or some wait. */
  mergedLogs: 256,
  /** Readers of logs at a time, those that wait for more included. */
  logReaders: 10_000,
  /** From SIGTERM to SIGKILL when a task is cancelled or timed out. */
  killGraceMs: 5_000,
} as const;
