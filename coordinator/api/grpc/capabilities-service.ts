import type { ServiceImpl } from "@connectrpc/connect";
import {
  type Capabilities,
  Compressor_Value,
  DigestFunction_Value,
  SymlinkAbsolutePathStrategy_Value,
} from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { limits } from "../../../shared/limits.ts";

/** What this server offers. Clients decide by it what they try at all, so it says nothing that is not served. */
export function capabilitiesService(): ServiceImpl<typeof Capabilities> {
  return {
    getCapabilities: () => ({
      cacheCapabilities: {
        digestFunctions: [DigestFunction_Value.SHA256],
        actionCacheUpdateCapabilities: { updateEnabled: true },
        maxBatchTotalSizeBytes: BigInt(limits.batchAdvertisedBytes),
        symlinkAbsolutePathStrategy: SymlinkAbsolutePathStrategy_Value.DISALLOWED,
        supportedCompressors: [Compressor_Value.IDENTITY],
        supportedBatchUpdateCompressors: [Compressor_Value.IDENTITY],
      },
      executionCapabilities: {
        digestFunction: DigestFunction_Value.SHA256,
        digestFunctions: [DigestFunction_Value.SHA256],
        execEnabled: false,
      },
      lowApiVersion: { major: 2, minor: 0 },
      highApiVersion: { major: 2, minor: 3 },
    }),
  };
}
