import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { type AdminService, type BackupResponseSchema, Role } from "../../../proto/gen/millrace/v1/admin_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { type DiskSpace, diskMessage } from "../../../shared/disk-space.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { version } from "../../../shared/version.ts";
import type { Role as RoleName } from "../../delivery/access/principal.ts";
import type { TokenInfo, Tokens } from "../../delivery/access/tokens.ts";
import type { BackupProgress } from "../../keeping/backup/write-backup.ts";
import type { Keeping } from "../../keeping/keeping.ts";
import { principalOf } from "../guard.ts";

export interface AdminServiceDeps {
  readonly tokens: Tokens;
  readonly clock: Clock;
  /** Of the coordinator's data folder, now. */
  readonly disk: () => DiskSpace;
  readonly keeping: Keeping;
}

/** AdminService: tokens, and the coordinator as it is now. */
export function adminService({ tokens, clock, disk, keeping }: AdminServiceDeps): ServiceImpl<typeof AdminService> {
  return {
    async createToken({ role, name, ttl }) {
      const named = roleNames.get(role);
      if (named === undefined)
        throw new MillraceError("invalid_argument", "a token needs a role: admin, developer or agent");
      const ttlMs = ttl === undefined ? undefined : durationMs(ttl);
      if (ttlMs !== undefined && ttlMs < 1_000) {
        throw new MillraceError("invalid_argument", `a token lives for at least a second, not ${ttlMs} ms`);
      }
      const { secret, info } = await tokens.create({ role: named, name: name === "" ? undefined : name, ttlMs });
      return { secret, token: tokenOf(info) };
    },

    listTokens: () => ({ tokens: tokens.list().map(tokenOf) }),

    async revokeToken({ name }) {
      await tokens.revoke(name);
      return {};
    },

    describeCoordinator(_request, context) {
      const { name, role } = principalOf(context);
      return {
        version,
        time: timestampFromMs(clock.nowMs()),
        principal: name,
        role: roles[role],
        disk: diskMessage(disk()),
      };
    },

    backup: ({ folder }, { signal }) => backupSteps({ keeping, clock }, folder, signal),

    async rebuildProjections() {
      const { commits, runs, changed } = await keeping.rebuild();
      return { commits: BigInt(commits), runs: BigInt(runs), changed: BigInt(changed) };
    },

    async collectGarbage({ dryRun }) {
      const { runs, ...gone } = await keeping.collect(dryRun);
      return {
        runs: BigInt(runs.length),
        runNames: runs.slice(0, limits.expiredNamed),
        runLogs: BigInt(gone.runLogs),
        cachedResults: BigInt(gone.cachedResults),
        blobs: BigInt(gone.blobs),
        blobBytes: BigInt(gone.blobBytes),
        compactedBytes: BigInt(gone.compactedBytes),
        storeBytes: BigInt(gone.storeBytes),
        storeBytesMax: BigInt(Number.isFinite(gone.storeBytesMax) ? gone.storeBytesMax : 0),
      };
    },
  };
}

/** How far it is, at most once a `progressIntervalMs`, and its end. Gives the backup up when the reader leaves. */
async function* backupSteps(
  { keeping, clock }: Pick<AdminServiceDeps, "keeping" | "clock">,
  folder: string,
  signal: AbortSignal,
): AsyncGenerator<MessageInitShape<typeof BackupResponseSchema>> {
  const left = new AbortController();
  let latest: BackupProgress | undefined;
  const onProgress = (progress: BackupProgress): void => void (latest = progress);
  const work = keeping.backup(folder, { signal: AbortSignal.any([signal, left.signal]), onProgress });
  let isOver = false;
  const over = work.then(
    () => void (isOver = true),
    () => void (isOver = true),
  );
  try {
    while (!isOver) {
      if (latest !== undefined) {
        const { files, bytes, expectedBytes } = latest;
        const value = { files: BigInt(files), bytes: BigInt(bytes), expectedBytes: BigInt(expectedBytes) };
        yield { step: { case: "progress", value } };
      }
      const pause = Promise.withResolvers<void>();
      const cancel = clock.after(limits.progressIntervalMs, pause.resolve);
      await Promise.race([over, pause.promise]);
      cancel();
    }
    const { files, bytes, lost } = await work;
    yield { step: { case: "finish", value: { files: BigInt(files), bytes: BigInt(bytes), lostBlobs: [...lost] } } };
  } finally {
    left.abort(new MillraceError("canceled", "who asked for the backup has left"));
    await over; // the folder is cleared
  }
}

const roles = { admin: Role.ADMIN, developer: Role.DEVELOPER, agent: Role.AGENT } as const;
const roleNames = new Map<Role, RoleName>([
  [Role.ADMIN, "admin"],
  [Role.DEVELOPER, "developer"],
  [Role.AGENT, "agent"],
]);

function tokenOf({ name, role, createdMs, expiresMs }: TokenInfo) {
  return {
    name,
    role: roles[role],
    ...(createdMs === undefined ? {} : { createTime: timestampFromMs(createdMs) }),
    ...(expiresMs === undefined ? {} : { expireTime: timestampFromMs(expiresMs) }),
  };
}
