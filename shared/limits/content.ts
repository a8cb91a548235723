/** Bounds of what is stored and of what travels: blobs, trees, messages, the bus. */
export const contentLimits = {
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
  /**
   * HTTP/2 windows: the default of 64 KiB caps a stream near 165 MiB/s on loopback, and at 2 MiB/s over 30 ms. What fits a
   * window may lie before a ping on a slow link; see grpcPingTimeoutMs.
   */
  grpcWindowBytes: 4 * 1024 * 1024,
  /** Between pings of a gRPC connection with calls: a dead one is found out within this and the next, 25 s together. */
  grpcPingMs: 5_000,
  /** An unanswered ping ends the connection. A full window takes as long at 200 KiB/s: slower links carry no large blobs. */
  grpcPingTimeoutMs: 20_000,
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
  /** For how long a coordinator that starts looks for its bus, which may be starting, too. */
  busFirstMs: 60_000,
  /** Between attempts to reach the bus again, plus up to twice as much by chance so that agents do not come as one. */
  busReconnectMs: 500,
  /** A bus that left two of these pings unanswered is taken for gone: within the lease, so that a cut is noticed. */
  busPingMs: 3_000,
  /** What a busy connection to the bus reads is handed over this far apart. */
  busShareMs: 5,
  /** And so many times at once after it was quiet: messages that follow one another do not wait on a small farm. */
  busSharesAtOnce: 20,
  /** For what was published last to leave before the connection is closed. */
  busFlushMs: 1_000,
  /** An agent answers what the coordinator asks on the bus within this time, or its server lets the answer through no more. */
  busReplyMs: 10_000,
  /** For a nats-server to take up a change of its users: 5,000 of them take a quarter of a second. */
  busReloadMs: 5_000,
  /** Between two looks whether it has. */
  busReloadPollMs: 5,
} as const;
