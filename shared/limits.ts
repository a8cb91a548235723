/**
 * Every bound of the product, with its unit and its reason. A queue, map, message, loop or retry without an entry here
 * is a defect.
 */
export const limits = {
  /** Blobs up to this size travel in batches and are packed into segments; larger ones are streamed and are files. */
  smallBlobBytes: 128 * 1024,
  /** One segment of packed small blobs: large enough to amortise fsync, small enough to compact. */
  casSegmentBytes: 64 * 1024 * 1024,
  /** What we advertise for a batch of blobs; clients size their messages by it. */
  batchAdvertisedBytes: 4 * 1024 * 1024 - 64 * 1024,
  /** Blobs in one BatchRead answer: above what we advertise for clients that count generously, below a message of ours. */
  batchReadBytes: 32 * 1024 * 1024,
  /** What we accept, because some clients count blobs and not messages (buildfarm#2366). */
  grpcMessageBytes: 64 * 1024 * 1024,
  /** One message of a byte stream. grpc-js buffers 16 messages a stream, so a stream holds at most 16 MiB. */
  streamChunkBytes: 1024 * 1024,
  /** HTTP/2 windows: the default of 64 KiB caps a stream near 165 MiB/s on loopback. */
  grpcWindowBytes: 16 * 1024 * 1024,
  /** A blob that is decoded as one message, a Tree for example. */
  messageBlobBytes: 64 * 1024 * 1024,
  /** Transfers that one upload, download or layout has under way: enough to hide the latency of a disk and of a network. */
  transfersInFlight: 8,
  /** Small blobs waiting for the store's next commit; beyond it writers are refused, for memory is finite. */
  casPendingBytes: 256 * 1024 * 1024,
  /** Small blobs that share one write and one fsync: the best of the measured sizes. */
  casCommitBytes: 4 * 1024 * 1024,
  /** Rows of the store's index that are loaded in one query at start. */
  casIndexPage: 50_000,
  /** The last use of a blob or of a cached result is kept on disk to this precision: exact enough to evict by. */
  lastUsePrecisionMs: 60 * 60 * 1000,
  /** An ActionResult, inlined bytes included: a default client takes no message above 4 MiB. */
  actionResultBytes: 3_500_000,
  /** Bytes inlined into an ActionResult on request; what does not fit stays a digest. */
  actionResultInlineBytes: 3 * 1024 * 1024,
  /** Digests in one FindMissing. */
  findMissingDigests: 100_000,
  /** Missing blobs of a source that the refusal of a run names: its details must fit into a trailer. */
  missingNamed: 50,
  /** Clients ask in slices of this many digests, so that a call stays below default message limits. */
  findMissingSlice: 10_000,
  /** A serialised Directory; larger ones are refused when decoded. About 100,000 entries. */
  directoryBytes: 8 * 1024 * 1024,
  /** Levels of a tree; deeper ones are hostile. */
  treeDepth: 128,
  /** Entries of a whole tree. */
  treeEntries: 1_000_000,
  /** Directory messages of a whole tree, together; more than a million entries need. */
  treeBytes: 256 * 1024 * 1024,
  /** One path component, as on Linux. */
  pathComponentBytes: 255,
  /** A whole path inside a tree. */
  pathBytes: 4096,
  /** A NATS message; beyond that, digests only. */
  busMessageBytes: 256 * 1024,
  /** Requests on the bus that wait for their answer; more are refused. */
  busRequests: 100_000,
  /** Messages on their way through the in-process bus; more are lost, as on any bus. */
  busBacklog: 100_000,
  /** The first connection to the bus. */
  busConnectMs: 5_000,
  /** Between attempts to reach the bus again, plus up to twice as much by chance so that agents do not come as one. */
  busReconnectMs: 500,
  /** A bus that left two of these pings unanswered is taken for gone: within the lease, so that a cut is noticed. */
  busPingMs: 3_000,
  /** For what was published last to leave before the connection is closed. */
  busFlushMs: 1_000,
  /** An agent answers what the coordinator asks on the bus within this time, or its server lets the answer through no more. */
  busReplyMs: 10_000,
  /** For a nats-server to take up a change of its users: 5,000 of them take a quarter of a second. */
  busReloadMs: 5_000,
  /** Between two looks whether it has. */
  busReloadPollMs: 5,
  /** Of an Assign, for inlined blobs. The rest is for its other fields. */
  assignInlineBytes: 192 * 1024,
  /** An agent answers an Assign within milliseconds; past this it is asked no more and another is tried. */
  assignTimeoutMs: 2_000,
  /** A report is answered after one group commit. */
  reportTimeoutMs: 5_000,
  /** Between heartbeats of an agent. */
  heartbeatIntervalMs: 2_000,
  /** An agent that is silent for this long is lost. */
  leaseMs: 10_000,
  /** An agent that is lost for this long is forgotten: a machine that is gone for a month will not come back as it was. */
  lostAgentKeptMs: 30 * 24 * 60 * 60 * 1000,
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
  /** Our own loop stood still when a timer of one heartbeat comes this much late. */
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
  /** A pipeline file. */
  pipelineFileBytes: 1024 * 1024,
  /** Problems that are reported for one pipeline file; nobody reads more. */
  pipelineProblems: 100,
  /** Values of a pipeline file after its aliases are expanded: what a real file of the greatest size may have. */
  pipelineValues: 400_000,
  /** Levels of nesting in a pipeline file; its language needs 8. */
  pipelineDepth: 32,
  /** An input glob, in characters. */
  globChars: 512,
  /** What the braces of one glob may expand to. */
  globAlternatives: 64,
  /** Comparisons of characters while the inputs of one run are selected: two or three seconds. */
  globSteps: 200_000_000,
  /** Files of the source times distinct input roots of one run: a byte and some nanoseconds each. */
  plannedFlags: 200_000_000,
  /** Entries of Directories encoded for one plan, beyond whole folders that are shared: a few seconds of hashing. */
  plannedNodes: 1_000_000,
  /**
   * What the plans that the coordinator keeps may hold together: blobs that they rest on, tasks, needs. Some 150 bytes
   * each, so 30 MB; a plan of 1,000 tasks over 10,000 files has about 15,000.
   */
  keptPlanItems: 200_000,
  /** Needs of all tasks of one run together, stages expanded to tasks. */
  runNeeds: 1_000_000,
  /** Tasks of one run. */
  runTasks: 20_000,
  /** Stages of one run. */
  runStages: 1_000,
  /** Time-out of a task that states none. */
  taskTimeoutMs: 60 * 60 * 1000,
  /** The longest time-out a task may ask for; more is refused, not clamped. */
  taskTimeoutMaxMs: 24 * 60 * 60 * 1000,
  /** The gate of a manual stage that states no time-out: a week, so that nothing waits for ever. */
  gateTimeoutMs: 7 * 24 * 60 * 60 * 1000,
  /** The longest time-out a gate may ask for; more is refused, not clamped. */
  gateTimeoutMaxMs: 90 * 24 * 60 * 60 * 1000,
  /** A gate's timer looks at the clock at least this often: timers cannot be set for weeks, and wall clocks jump. */
  gateTimerStepMs: 60 * 60 * 1000,
  /** Items of a gate's checklist, and its approvers: more than a person goes through. */
  gateItems: 100,
  /** A gate's title, and an item of its checklist, in characters. */
  gateTextChars: 500,
  /** What a person says at a gate, in characters. */
  gateCommentChars: 10_000,
  /** Runs of a pipeline that its flow is taken from, unless told otherwise. */
  flowRuns: 20,
  /** The most: each has its events read from the log. */
  flowRunsMax: 100,
  /** An uploaded source archive, unpacked. */
  archiveBytes: 4 * 1024 * 1024 * 1024,
  /** Messages a slow watcher may fall behind before its stream is ended with `resource_exhausted`. */
  watcherBacklog: 100_000,
  /** Statements in one group commit of SQLite. */
  groupCommitWrites: 1_000,
  /** Waiting requests to one SQLite worker. */
  sqliteBacklog: 200_000,
  /** Commits that the event store keeps decoded, so that watchers who keep up cost no reads of the table. */
  recentCommits: 1_000,
  /** Commits just appended that the event store keeps as they are for the watchers' next read; others are decoded. */
  unreadCommits: 64,
  /** Changes of run summaries in one write while they follow a log that is ahead of them. */
  summaryBatch: 1_000,
  /** Commits that changed no summary before that is written down: what a start reads again at most. */
  summaryPassed: 1_000,
  /** Unfinished runs that a start reads back at a time. */
  runsLoading: 32,
  /** Commits in one read of the table by a watcher that catches up. */
  eventPageCommits: 500,
  /** How long a SQLite call waits for a lock that another process holds, such as a backup. */
  sqliteBusyMs: 5_000,
  /** Compiled statements one SQLite worker keeps. */
  sqliteStatements: 500,
  /**
   * Tasks whose Actions are put together at a time: each reads trees and writes blobs. Each also waits for the next
   * commit of events, so a cached run of 1,000 tasks takes 1,000 / this many commits.
   */
  preparingTasks: 256,
  /** Executions that hold what another one waits for, as an answer names them. */
  queueHolders: 10,
  /** Placements in one turn of the event loop, each a write and a message: others have their turn in between. */
  placementsPerTurn: 64,
  /** Executions whose submitters are told in one turn of the loop why they wait. */
  waitsToldPerTurn: 500,
  /** Different things that executions ask of agents, of which the scheduler remembers who offers them. */
  matchedRequirements: 10_000,
  /** Executions queued in the scheduler. */
  queuedExecutions: 500_000,
  /** For one JoinFarm; then it is tried again. */
  joinTimeoutMs: 10_000,
  /** Downloads of a program at a time, each with 1 MiB in memory; more are told to come again. */
  programDownloads: 64,
  /** A download that takes nothing for this long is cut off. */
  programDownloadIdleMs: 60_000,
  /** A program that an agent fetches; ours has 130 MB. */
  programBytes: 1024 * 1024 * 1024,
  /** For a new program to say its version. */
  programVersionMs: 20_000,
  /** For a new program to join the farm; beyond it the old one goes on. */
  upgradeTrialMs: 60_000,
  /** For a new program to end after it was tried: it holds nothing. */
  upgradeTrialStopMs: 15_000,
  /** What an agent holds when it is to upgrade may run for this long; the coordinator has the agents take turns. */
  upgradeDrainMs: 24 * 60 * 60 * 1000,
  /** Of what a new program said last, in the reason for going back. */
  upgradeReasonCharacters: 500,
  /** Of the connected agents, how many upgrade at a time: one in so many, and at least one. */
  upgradeShare: 4,
  /** An upgrade that has not come to anything after this long counts no more against the others. */
  upgradeUnderWayMs: 60 * 60 * 1000,
  /** Between two times that an agent, whose turn it is, is asked to look for an offer. */
  upgradeAskMs: 10_000,
  /** As before, of an agent that had its answer: an offer, or that there is none for it. */
  upgradeLookMs: 10 * 60 * 1000,
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
  /** Between an agent's looks at its disk while a task runs. */
  diskCheckMs: 500,
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
  /** Damaged files of a backup that a refusal names. */
  damagedNamed: 20,
  /** Between two messages on how far a backup or a restore is: a person sees it move. */
  progressIntervalMs: 250,
} as const;
