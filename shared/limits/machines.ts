/** Bounds on one machine: an agent's tasks, store, tools and units, the disk, the command line, TLS. */
export const machineLimits = {
  /** For an agent's runner process to be ready: it may have to end what an earlier one left. */
  runnerReadyMs: 20_000,
  /** For the probe of one way to lay out inputs; it takes a few milliseconds. */
  inputRootProbeMs: 5_000,
  /** For the last reports of an agent to be answered once every task was ended. */
  lastReportsMs: 2_000,
  /** For a tool to say its version; one that takes longer is known by its digest alone. */
  toolProbeMs: 10_000,
  /** Of what a tool says of its version; the rest is not read. */
  toolVersionBytes: 64 * 1024,
  /** Between an agent's looks whether a tool was replaced: two of them in the time of a lease. */
  toolCheckMs: 5_000,
  /** Farms that an agent may be inside of: tests in a task start farms, and those of a farm's own tests no more. */
  farmNesting: 1,
  /** Actions an agent may be told to run at a time. */
  agentSlots: 1024,
  /** The first pause before an agent tries a call again; doubled each time, with jitter. */
  retryMinMs: 100,
  /** The longest such pause: what an agent needs at most to notice that the farm is back. */
  retryMaxMs: 5_000,
  /** What an agent's local store may hold when nothing else is said; above it, blobs are evicted by last use. */
  storeBytes: 32 * 1024 * 1024 * 1024,
  /** Share of its greatest size to which an eviction brings the store. */
  storeLowMark: 0.8,
  /** Room that should be free on the disk of an agent and of the coordinator, for tasks and for others … */
  diskFreeBytesMin: 1024 * 1024 * 1024,
  /** … or this share of the disk, where that is less. */
  diskFreeShareMin: 0.05,
  /** A disk with less than this free is full: the last pages are not worth starting anything for. */
  diskFullBytes: 1024 * 1024,
  /** What the coordinator keeps of its disk for writing down how runs end when nothing else is free. */
  diskReserveBytes: 4 * 1024 * 1024,
  /** With this much free, the reserve is taken (again). */
  diskReservePlentyBytes: 16 * 1024 * 1024,
  /** Between looks whether the reserve can be taken again. */
  diskReserveCheckMs: 5_000,
  /** Between an agent's looks at its disk while a task runs, when it has much room … */
  diskCheckMs: 500,
  /** … and when it has little: a disk of a few megabytes is filled and freed again so fast. */
  diskCheckMsMin: 10,
  /** How fast a disk may be filled: faster than one processor writes to memory. Before it can be full, it is looked at again. */
  diskFillBytesPerSecond: 8 * 1024 * 1024 * 1024,
  /** A disk that stays full for this long while a task runs ends the task: it may be what fills it. */
  diskFullMs: 5_000,
  /** Attempts at a call of an agent that the coordinator answers with `resource_exhausted`: what is short may come back, a full disk will not. */
  exhaustedAttempts: 5,
  /** Blobs evicted in one go before the event loop gets its turn: about 5 ms. */
  evictionSlice: 128,
  /** An output up to this size is copied into the local store for the tasks that follow; larger ones cost too much disk. */
  keptOutputBytes: 1024 * 1024 * 1024,
  /** Up to so many entries, and so many bytes, a task gets copies of its inputs: a mount and its end cost 3 ms more. */
  smallTreeEntries: 16,
  smallTreeBytes: 256 * 1024,
  /** Named caches of one task: each is a layer below what the task writes. */
  taskCaches: 16,
  /** Named caches that an agent keeps; the one unused for longest makes room. */
  namedCachesKept: 256,
  /** Files, links and folders in one named cache: with more it is not kept, for looking through it would cost seconds. */
  namedCacheEntries: 500_000,
  /** Input trees an agent keeps laid out for the next task that reads the same. */
  inputTreesKept: 16,
  /** Reports an agent sends at a time. */
  outboxParallel: 16,
  /** Output files of earlier starts that an agent keeps until they are sent: more than a few starts leave. */
  leftoverLogs: 1_000,
  /**
   * An agent that comes back sends what an earlier start left of its logs first, for at most this long: a follower then gets
   * it before the log ends. Well below a lease, for the tasks themselves wait to be placed anew.
   */
  leftoverLogsFirstMs: 2_000,
  /** Refusals in a row of the same log stream that are not for want of a connection, before its logs are given up. */
  logRefusals: 6,
  /** A deployment whose probe states no time-out. */
  probeTimeoutMs: 30_000,
  /** Between two questions of a probe. */
  probeIntervalMs: 250,
  /** For one answer to a probe. */
  probeAnswerMs: 5_000,
  /** Good answers in a row, by one process, before an app counts as healthy: one may come from whoever held the port. */
  probeConfirmations: 3,
  /** Of an answer to a probe, as much as is shown. */
  probeAnswerBytes: 200,
  /** Releases of an app that stay on its host beside the current one, so that going back moves no bytes. */
  releasesKept: 3,
  /** From SIGTERM to SIGKILL of a unit: requests in progress may end. */
  unitStopMs: 5_000,
  /** First pause before a unit that ended is started again; doubles from then on. */
  unitPauseMs: 250,
  /** Longest such pause. */
  unitPauseMaxMs: 15_000,
  /** A unit that ran for this long before it ended is started again after the first pause. */
  unitSteadyMs: 30_000,
  /** Between two looks at whether a unit lives: those of an earlier start of the agent are not its children. */
  unitCheckMs: 200,
  /** Output of a unit; there are two files, the present one and the one before. */
  unitLogBytes: 16 * 1024 * 1024,
  /** An ephemeral agent waits so long for its one report to be taken, then it leaves it on its disk and ends. */
  ephemeralReportMs: 10 * 60_000,
  /** Idempotency keys of the last submits that are kept at hand; all others are looked up. */
  idempotencyKeys: 10_000,
  /** Farms of one user on one machine whose addresses and tokens `millrace up` keeps. */
  storedFarms: 20,
  /** The first call of `millrace doctor`: a coordinator that takes longer is not reached. */
  doctorCallMs: 5_000,
  /** Clocks that differ by more are worth a word: logs of both sides are read together. */
  doctorClockMs: 2_000,
  /** Free disk below which the doctor warns: one build of a middling project with its inputs and outputs. */
  doctorDiskBytes: 5 * 1024 * 1024 * 1024,
  /** Free disk below which nothing will work for long. */
  doctorDiskLeastBytes: 256 * 1024 * 1024,
  /** Runs in one page of a list. */
  listPage: 1_000,
  /** Certificates count from this long before they are made: clocks of other machines may be behind by as much. */
  tlsClockSkewMs: 24 * 3_600_000,
  /** The farm's own CA: new tokens for every machine at its end, so well beyond the life of a farm. */
  tlsAuthorityMs: 10 * 365 * 24 * 3_600_000,
  /** A server's certificate: as long as browsers accept one. */
  tlsServerMs: 365 * 24 * 3_600_000,
  /** Made anew at a start with less left than this: a coordinator that is not restarted serves for at least as long. */
  tlsServerLeastMs: 335 * 24 * 3_600_000,
  /** Names in a server's certificate: a machine with more addresses is reached by the first ones. */
  tlsServerNames: 100,
  /** Certificates of a chain that are looked at. */
  tlsChain: 10,
  /** For one look at the certificates that a server shows. */
  tlsProbeMs: 5_000,
  /** Calls in progress have this long when the coordinator stops; watchers and followers never end by themselves. */
  closeGraceMs: 500,
  /** From SIGTERM to the end of a draining process. */
  drainMs: 30_000,
  /**
   * A file that was changed this shortly before a snapshot is read again by the next one. Longer than a tick of any file
   * system's clock (FAT counts in 2 s, Linux stamps with a clock that lags by up to 10 ms).
   */
  statSettleMs: 2_000,
  /** Pipeline files without problems that the command line of a user remembers. */
  knownPipelines: 256,
  /** Sources whose stat caches a user keeps; the one unused for longest makes room. */
  statCachesKept: 64,
  /** Reads of a source tree that changes under our eyes, before the command line gives up. */
  snapshotAttempts: 3,
  /** First pause of the command line before it opens a broken stream again; doubles from then on. */
  reconnectPauseMs: 100,
  /** Longest such pause: a restarted coordinator is found again within it. */
  reconnectPauseMaxMs: 2_000,
  /** The command line gives up a coordinator that stays away for this long. */
  reconnectPatienceMs: 60_000,
  /** After a run has finished, its log may stay silent for this long before the command line stops waiting for its end. */
  logEndPatienceMs: 10_000,
  /** Characters of one line of output that a terminal gets at once; longer lines come in pieces. */
  logLineChars: 64 * 1024,
  /** First pause before `up` starts a fallen child again; doubles from then on. */
  childPauseMs: 200,
  /** Longest such pause. */
  childPauseMaxMs: 15_000,
  /** A child that served for this long before it fell starts again with the first pause. */
  childSteadyMs: 30_000,
  /** A child of `up` serves within this time, or `up` says why not. */
  childStartMs: 60_000,
  /** From SIGTERM to SIGKILL of a child of `up`: its own drain and a little more. */
  childStopMs: 35_000,
  /** For the coordinator of a farm that stops to say which tasks run. */
  stoppingAnswerMs: 2_000,
  /** Files that failed tasks left which an agent keeps for a shell: the oldest go first. */
  keptTrees: 3,
  /** … and for how long. */
  keptTreeMs: 30 * 60_000,
  /** Shells of a farm at a time; an agent has as many at most. */
  shells: 16,
  /** A shell without input and output for this long is ended: somebody has forgotten it. */
  shellIdleMs: 30 * 60_000,
  /** From the offer of a shell to the agent's stream. */
  shellAnswerMs: 15_000,
  /** Of a message with input or output of a shell. */
  shellChunkBytes: 64 * 1024,
  /** Such messages that wait for a slow reader on one side. */
  shellMessages: 8,
  /** Output of one shell: it goes through a file on the agent's disk. */
  shellOutputBytes: 256 * 1024 * 1024,
  /** Data folders of local farms of one user: so many calls of `run --local` go on at a time, and so many caches take disk. */
  localFarms: 8,
  /** A child of `up` ends at the latest this long after the supervisor has vanished. */
  orphanMs: 10_000,
  /** After the end of a child of `up`, its pipes may stay open for this long, held by a process that it left behind. */
  childLastLinesMs: 1_000,
  /** The log of a child of `up`; there are two, the present one and the one before. */
  childLogBytes: 16 * 1024 * 1024,
  /** Changes of a projection that is folded anew in one write. */
  rebuildStatements: 500,
  /** Slots of the store's table that are looked at in one go before the event loop gets its turn: about a millisecond. */
  tableSlice: 4_096,
  /** Blobs that the coordinator's store removes in one write of its index. */
  removalSlice: 1_000,
  /** A segment of which no more than this share is used is compacted: a byte moved wins back at least one. */
  compactLiveShare: 0.5,
  /** The same while the store has no room: more work for a byte. */
  compactLiveShareFull: 0.9,
  /** Segments compacted in one round: at most 2 GiB read and half of it written. */
  compactSegments: 32,
  /** What somebody was told to be in the store stays for this long after its last use: the TTL that Bazel reckons with. */
  casPromiseMs: 3 * 60 * 60 * 1000,
  /** Cached results whose closures are looked at in one go: a closure of 10,000 blobs has 400 KB. */
  closurePage: 32,
  /** Finished runs of a project that are kept unless told otherwise: a year of a lively one. */
  keptRuns: 10_000,
  /** And for how long: two quarters, for who compares them. */
  keptRunsMs: 180 * 24 * 60 * 60 * 1000,
  /** Their logs. */
  keptLogsMs: 90 * 24 * 60 * 60 * 1000,
  /** Their artifacts; those that environments need stay anyway. */
  keptArtifactsMs: 30 * 24 * 60 * 60 * 1000,
  /** Cached results and blobs since their last use. */
  keptCacheMs: 30 * 24 * 60 * 60 * 1000,
  /** Between two collections of garbage by the coordinator itself. */
  collectIntervalMs: 60 * 60 * 1000,
  /** From the start of a coordinator to its first collection: what matters at a start goes first. */
  collectFirstMs: 5 * 60 * 1000,
  /** Between two collections for want of room: each looks at the whole store. */
  collectPauseMs: 10_000,
  /** Runs that one commit says were removed; while it is written, no run can be pinned. */
  expiredRuns: 50,
  /** Runs that the answer to a collection names. */
  expiredNamed: 100,
  /** Blobs of finished runs that the keeper remembers, so that each collection need not read every run's events. */
  keptRootsRemembered: 200_000,
  /** Of the most that the store may take: above this share, garbage is collected at once … */
  casHighMark: 0.95,
  /** … and as much more goes as brings it down to this one. */
  casLowMark: 0.8,
  /** A writer waits this long for room; then it is refused. A round may have to wait for a backup. */
  casRoomWaitMs: 10_000,
  /** When a writer that was refused for want of room should try again. */
  casRetryMs: 30_000,
  /** Numbers of runs that a restore leaves out at least, and of which it begins with a round multiple. */
  restoredRunGap: 1_000,
  /** Damaged files of a backup that a refusal names. */
  damagedNamed: 20,
  /** Between two messages on how far a backup or a restore is: a person sees it move. */
  progressIntervalMs: 250,
  /** One import of a source by an agent, from its start to the last blob: a first fetch of a large repository. */
  importTimeoutMs: 30 * 60 * 1000,
  /** Repositories of which an agent keeps a mirror; the one unused for longest makes room. */
  mirrorsKept: 64,
  /** All mirrors of an agent together; above it those unused for longest go. */
  mirrorsBytes: 20 * 1024 * 1024 * 1024,
  /** One mirror, also while it is fetched: a repository that takes more is refused. */
  mirrorBytes: 10 * 1024 * 1024 * 1024,
  /** All files of an imported source together: as much as its mirror, of which a small one may unfold to any size. */
  sourceBytes: 10 * 1024 * 1024 * 1024,
  /** Between two looks at the size of a mirror that is being fetched. */
  mirrorCheckMs: 1_000,
  /** Fetches into one mirror before it is made anew: each leaves a pack behind, and all are looked through for an object. */
  mirrorFetches: 250,
  /** A server that sends less than 1 KiB/s for this long is given up by git. */
  gitStallMs: 60_000,
  /** What git may print beside objects: names of refs, commits, paths. */
  gitOutputBytes: 16 * 1024 * 1024,
  /** Of what git says on its standard error, for a message. */
  gitMessageChars: 2_000,
  /** Objects of git that are looked up in one query. */
  gitObjectsSlice: 10_000,
  /** A tree or a symlink of git that is read into memory; as large as a Directory may get. */
  gitTreeBytes: 8 * 1024 * 1024,
  /** A file that could be a pointer of Git LFS: its format allows no more. */
  lfsPointerBytes: 1024,
  /** For git to say what is checked out where a folder is run: beyond it the run does not name its commit. */
  checkoutMs: 2_000,
} as const;
