import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type AdminService,
  type BackupRequest,
  type BackupResponseSchema,
  Role,
} from "../../../proto/gen/millrace/v1/admin_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { type DiskSpace, diskMessage } from "../../../shared/disk-space.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { formatToken } from "../../../shared/rpc/token.ts";
import { version } from "../../../shared/version.ts";
import { type TokenRole, tokenRoles } from "../../delivery/access/principal.ts";
import type { TokenInfo, Tokens } from "../../delivery/access/tokens.ts";
import type { Projects } from "../../delivery/project/projects.ts";
import type { Enrolments, EnrolmentToken, EnrolmentTokens } from "../../farm/agents/enrolments.ts";
import type { BackupProgress } from "../../keeping/backup/write-backup.ts";
import type { Keeping } from "../../keeping/keeping.ts";
import { principalOf } from "../guard.ts";
import type { InstallerAddress } from "../install/installer-address.ts";

export interface AdminServiceDeps {
  readonly tokens: Tokens;
  readonly projects: Pick<Projects, "get">;
  readonly enrolments: Pick<Enrolments, "create">;
  readonly enrolmentTokens: Pick<EnrolmentTokens, "list" | "revoke">;
  readonly clock: Clock;
  /** Of the farm's own CA, where it has one: part of every token. */
  readonly fingerprint: string | undefined;
  /** Of the coordinator's data folder, now. */
  readonly disk: () => DiskSpace;
  /** Known once the server listens. */
  readonly installer: () => InstallerAddress;
  readonly keeping: Keeping;
}

/** AdminService: tokens, the coordinator as it is now, and what it keeps. */
export function adminService(deps: AdminServiceDeps): ServiceImpl<typeof AdminService> {
  const { tokens, projects, enrolments, enrolmentTokens, clock, fingerprint, disk, installer, keeping } = deps;

  /** Of both kinds: a name is revoked without saying which. */
  function requireFree(name: string): void {
    const taken = [...tokens.list(), ...enrolmentTokens.list()].some((token) => token.name === name);
    if (!taken) return;
    throw new MillraceError(
      "already_exists",
      `there is a token "${name}" already: revoke it first, or choose another name`,
    );
  }

  return {
    async createToken({ role, name, ttl, pool, ephemeral, user, projects: bound }) {
      const named = roleNames.get(role);
      if (named === undefined)
        throw new MillraceError("invalid_argument", `a token needs a role: ${[...roleNames.values()].join(", ")}`);
      const ttlMs = ttl === undefined ? undefined : durationMs(ttl);
      if (ttlMs !== undefined && ttlMs < 1_000) {
        throw new MillraceError("invalid_argument", `a token lives for at least a second, not ${ttlMs} ms`);
      }
      requireFree(name);
      const wanted = { name: name === "" ? undefined : name, ttlMs };
      if (named === "agent") {
        if (user !== "" || bound.length > 0) {
          throw new MillraceError("invalid_argument", "a token with the role agent has no user and no projects");
        }
        const bounded = { ...wanted, ttlMs: ttlMs ?? limits.enrolmentTokenMs };
        const made = await enrolments.create({ ...bounded, pool: pool === "" ? "default" : pool, ephemeral });
        return { secret: formatToken({ secret: made.secret, fingerprint }), token: enrolmentTokenOf(made.token) };
      }
      if (pool !== "" || ephemeral) {
        throw new MillraceError("invalid_argument", "only a token with the role agent has a pool or is ephemeral");
      }
      if (bound.length > limits.tokenProjects) {
        throw new MillraceError("invalid_argument", `a token is for at most ${limits.tokenProjects} projects`);
      }
      for (const project of bound) projects.get(project); // or says that there is none
      const whose = { user: user === "" ? undefined : user, projects: bound.length === 0 ? undefined : bound };
      const { secret, info } = await tokens.create({ role: named, ...wanted, ...whose });
      return { secret: formatToken({ secret, fingerprint }), token: tokenOf(info) };
    },

    listTokens() {
      const all = [...tokens.list().map(tokenOf), ...enrolmentTokens.list().map(enrolmentTokenOf)];
      return { tokens: all.sort((a, b) => (a.name < b.name ? -1 : 1)) };
    },

    async revokeToken({ name }) {
      const isEnrolment = enrolmentTokens.list().some((token) => token.name === name);
      await (isEnrolment ? enrolmentTokens : tokens).revoke(name);
      return {};
    },

    describeCoordinator(_request, context) {
      const { name, role, projects: bound = [] } = principalOf(context);
      return {
        version,
        time: timestampFromMs(clock.nowMs()),
        principal: name,
        role: roles[role],
        projects: [...bound],
        disk: diskMessage(disk()),
        installerUrl: installer().url,
        installerKeyPin: installer().keyPin ?? "",
      };
    },

    backup: (request, { signal }) => backupSteps({ keeping, clock }, request, signal),

    async rebuildProjections() {
      const { commits, runs, changed, candidates } = await keeping.rebuild();
      const counts = { commits: BigInt(commits), runs: BigInt(runs), changed: BigInt(changed) };
      return { ...counts, candidates: BigInt(candidates) };
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
  { folder, withSecretKey }: BackupRequest,
  signal: AbortSignal,
): AsyncGenerator<MessageInitShape<typeof BackupResponseSchema>> {
  const left = new AbortController();
  let latest: BackupProgress | undefined;
  const onProgress = (progress: BackupProgress): void => void (latest = progress);
  const work = keeping.backup(folder, {
    signal: AbortSignal.any([signal, left.signal]),
    withSecretKey,
    onProgress,
  });
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

const roles = {
  viewer: Role.VIEWER,
  developer: Role.DEVELOPER,
  approver: Role.APPROVER,
  operator: Role.OPERATOR,
  admin: Role.ADMIN,
  agent: Role.AGENT,
  enrolment: Role.AGENT,
} as const;
const roleNames = new Map<Role, TokenRole>(tokenRoles.map((role) => [roles[role], role]));

function tokenOf({ name, role, user = "", projects = [], createdMs, expiresMs }: TokenInfo) {
  return {
    ...{ name, role: roles[role], user, projects: [...projects] },
    ...(createdMs === undefined ? {} : { createTime: timestampFromMs(createdMs) }),
    ...(expiresMs === undefined ? {} : { expireTime: timestampFromMs(expiresMs) }),
  };
}

function enrolmentTokenOf({ name, pool, ephemeral, createdMs, expiresMs, usedBy = "" }: EnrolmentToken) {
  const times = { createTime: timestampFromMs(createdMs), expireTime: timestampFromMs(expiresMs) };
  return { name, role: Role.AGENT, ...times, pool, ephemeral, usedBy };
}
