/** Bounds of pipelines, runs and what the coordinator keeps of them. */
export const runLimits = {
  /** A pipeline file. */
  pipelineFileBytes: 1024 * 1024,
  /** Files of a project that `init` looks at before it writes a starter: enough to see what kind it is, within a second. */
  starterFiles: 50_000,
  /** A file that a starter is decided by; of a larger one it knows nothing. */
  starterFileBytes: 1024 * 1024,
  /** Problems that are reported for one pipeline file; nobody reads more. */
  pipelineProblems: 100,
  /** Values of a pipeline file after its aliases are expanded: what a real file of the greatest size may have. */
  pipelineValues: 400_000,
  /** Levels of nesting in a pipeline file; its language needs 8. */
  pipelineDepth: 32,
  /** Values of a pipeline with its templates, matrices and shards written out; some 100 bytes each at most. */
  pipelineExpandedValues: 1_000_000,
  /** Characters of their texts: 20,000 tasks with a script of 3,000 each. */
  pipelineExpandedChars: 64_000_000,
  /** A script, or the value of a variable: Linux gives a process no argument of 128 KiB or more, and what starts it adds a little. */
  processTextBytes: 128 * 1000,
  /** A script with its variables: a quarter of the stack that Linux gives a process by default may be arguments. */
  commandBytes: 1_000_000,
  /** The Commands of one plan together, what tasks have from the defaults included: all are in memory before they are stored. */
  plannedCommandBytes: 128 * 1024 * 1024,
  /** A condition, or what stands between `${{` and `}}`, in characters. */
  celChars: 1_000,
  /** A condition on the end of a run with the values in it that are known when it is planned, in characters. */
  celBoundChars: 16_000,
  /** A text that an expression speaks of: a parameter, a branch, a value of a matrix; in characters. */
  celTextChars: 4_096,
  /** Steps of one expression, each at most some ten nanoseconds, as they are counted before it is evaluated. */
  celCost: 20_000_000,
  /** Steps of all expressions of one pipeline together: a few seconds. */
  celCostTotal: 300_000_000,
  /** Characters and elements of a value on the way to an expression's result. */
  celValueSize: 1_000_000,
  /** Parameters of one pipeline, or of one template. */
  pipelineParams: 100,
  /** Dimensions of one matrix. */
  matrixDimensions: 10,
  /** Files that one pipeline includes, those that they include counted. */
  includedFiles: 100,
  /** Bytes of all files of one pipeline. */
  includedBytes: 4 * 1024 * 1024,
  /** Files that include each other, and templates that build on each other, in one chain. */
  includeDepth: 20,
  /** For a service to be ready, where it says nothing else. */
  serviceReadyMs: 60_000,
  /** Services beside one task. */
  taskServices: 10,
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
  /** Needs of all stages of one pipeline together: 400 stages of which each needs all before it. */
  runStageNeeds: 100_000,
  /** Levels at which tasks write tasks: those of the file are the first, and what is deeper is no pipeline any more. */
  generatedLevels: 3,
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
  /** People that one gate may ask for. */
  gateApprovalsMax: 20,
  /** What a person fills in at a gate, in characters a field. */
  gateFieldChars: 2_000,
  /** What is wrong with one approval is said of so many fields and items: errors travel in headers, which are small. */
  gateProblems: 20,
  /** Of what somebody has written, so many characters are said again in an error. */
  gateQuotedChars: 60,
  /** Pieces of evidence beside one gate: what people look at before they decide. */
  gateEvidence: 50,
  /** One of these, which is held in memory while it arrives: a screenshot, a report, a short recording. */
  evidenceBytes: 16 * 1024 * 1024,
  /** Its name, in characters. */
  evidenceNameChars: 128,
  /** New tries of a task that failed by itself. */
  taskRetriesMax: 10,
  /** Placements of one execution after losses of agents, where a task states how many. */
  infrastructureRetriesMax: 100,
  /** Before the first new try of a task whose policy states no delay. */
  retryDelayMs: 1_000,
  /** Before a new try of a task, however often the delay was doubled. */
  retryDelayMaxMs: 60 * 60 * 1000,
  /** Tries of one task, after which nobody may ask for one more: each leaves a log and events. */
  taskTriesMax: 100,
  /** Former tries of a task that are shown: what is older is in the log of events alone. */
  taskTriesKept: 20,
  /** What somebody says of a run, when it is paused, skipped or commented on, in characters. */
  commentChars: 10_000,
  /** Comments of one run: all of them are sent with it. */
  runComments: 1_000,
  /** Tasks that are named where it is said what another one waits for; the others are counted. */
  needsNamed: 20,
  /** Agents that one re-run may stay away from. */
  avoidedAgents: 100,
  /** How long tasks that are always executed may take after their run was cancelled; then they end as well. */
  alwaysAfterCancelMs: 60 * 60 * 1000,
  /** Endings that one retry policy names. */
  retryCauses: 50,
  /** Places in one concurrency group. */
  concurrencyMax: 1_000,
  /** Secrets of one task. */
  taskSecrets: 50,
  /** A secret's value: a key with its whole chain of certificates fits many times over. */
  secretBytes: 64 * 1024,
  /** Secrets of one project: all of them are read when its key is rotated. */
  projectSecrets: 1_000,
  /** Values that are encrypted anew in one write while the key is rotated: some 6 MiB. */
  secretsRotated: 100,
  /** A value, a line of one, or what is left of it in base64, that is shorter is not masked: it would be found everywhere. */
  maskedFormBytesMin: 4,
  /** A value, or a line of one, that is shorter is warned about: it is masked where it means something else, too. */
  maskedValueBytesMin: 8,
  /** A form of a secret that is longer is recognised by pieces of this length: so much of a log may wait for its next bytes. */
  maskedPieceBytes: 64,
  /** Of a text, before what is masked next: a piece whose every byte is written as `\\u0000`, and a wrapped line. */
  maskingContextBytes: 512,
  /** Values that a task names itself, to be masked. */
  maskedValues: 1_000,
  /** All of them together, a line each. */
  maskFileBytes: 64 * 1024,
  /** An output file is searched for secrets up to here: a third of a second; what is larger is no text that people look at. */
  searchedFileBytes: 64 * 1024 * 1024,
  /** All output files of a task together. */
  searchedOutputBytes: 512 * 1024 * 1024,
  /** Secrets found in outputs that a run says; the log of the task says all. */
  outputWarnings: 10,
  /** Characters of such a warning, which names a path. */
  outputWarningChars: 1_000,
  /** Projects of a farm, those that were removed not counted: all are kept in memory. */
  projects: 1_000,
  /** Records of the audit in one stream: what one read of it holds in memory, some 300 bytes each. */
  auditSegment: 10_000,
  /** Such streams that are read for one page: beyond it, the page ends with a place to go on. */
  auditPageSegments: 10,
  /** Records of the audit in one write. */
  auditBatch: 500,
  /** Records of which one reading of the audit says that they are broken: with more of them, the first ones are enough. */
  auditFaults: 100,
  /** Calls that wait for their record; one more is refused. */
  auditPending: 10_000,
  /** What a call was about, as the audit keeps it, in characters. */
  auditTargetChars: 200,
  /** Why it was refused, as the audit keeps it, in characters. */
  auditDetailChars: 500,
  /** Projects that one token names: more is a token for all. */
  tokenProjects: 100,
  /** A project's title, in characters. */
  projectTitleChars: 200,
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
  /** A tried program that has ended may have left processes that hold its output open: its last words are waited for so long. */
  upgradeLastWordsMs: 1_000,
  /** A program that does not join in time is tried so often in all: the coordinator, and not the program, may have been away. */
  upgradeTrials: 3,
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
  /** A repository's URL, and a ref, in characters. */
  repositoryUrlChars: 2_000,
  refChars: 255,
  /** Keys of SSH hosts that a project names, as lines of known_hosts: those of GitHub take 2 KiB. */
  knownHostsBytes: 32 * 1024,
  /** Commits of history that an agent fetches, and that are listed since the last run. */
  sourceCommits: 100,
  /** Paths that changed since the last run, in the event of a run: with more, the list is not whole. */
  changedPaths: 5_000,
  /** … and what they may take together. */
  changedPathsBytes: 256 * 1024,
  /** Of a commit: its author's name and address, and the first line of its message, in characters. */
  commitTextChars: 300,
  /** Branches whose last commits an import is told, so that it can say what is new. */
  previousCommits: 100,
  /** Imports of sources that wait or run at a time, over all; each is a call that waits, too. */
  importsWaiting: 1_000,
  /** An import goes before tasks of the usual priorities: a run cannot begin without it. */
  importPriority: 1_000,
  /** The least major version of Node that evaluates pipeline files in TypeScript: what it strips types by is what we test with. */
  evaluatorNodeMajor: 24,
  /** An evaluation; what takes longer computes what a task should. */
  evaluationTimeoutMs: 30_000,
  /** Of JavaScript's heap, for an evaluation. */
  evaluationMemoryMib: 512,
  /** What it prints, and each file that it writes: more than any pipeline has. */
  evaluationFileBytes: 2 * 1024 * 1024,
  /** Of what it printed, what a person is shown when it failed: the end. It travels in a trailer, twice. */
  evaluationLogBytes: 4 * 1024,
  /** Files that a pipeline file imports or names as its inputs, globs by which it does, and bytes of those that are looked into. */
  evaluationInputs: 10_000,
  evaluationGlobs: 200,
  evaluationScannedBytes: 16 * 1024 * 1024,
  /** Evaluations that wait or run at a time, over all; each is a call that waits, too. */
  evaluationsWaiting: 1_000,
} as const;
