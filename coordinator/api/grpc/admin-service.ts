import { durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { type AdminService, Role } from "../../../proto/gen/millrace/v1/admin_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { type DiskSpace, diskMessage } from "../../../shared/disk-space.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { formatToken } from "../../../shared/rpc/token.ts";
import { version } from "../../../shared/version.ts";
import type { Role as RoleName } from "../../delivery/access/principal.ts";
import type { TokenInfo, Tokens } from "../../delivery/access/tokens.ts";
import { principalOf } from "../guard.ts";
import type { InstallerAddress } from "../install/installer-address.ts";

export interface AdminServiceDeps {
  readonly tokens: Tokens;
  readonly clock: Clock;
  /** Of the farm's own CA, where it has one: part of every token. */
  readonly fingerprint: string | undefined;
  /** Of the coordinator's data folder, now. */
  readonly disk: () => DiskSpace;
  /** Known once the server listens. */
  readonly installer: () => InstallerAddress;
}

/** AdminService: tokens, and the coordinator as it is now. */
export function adminService(deps: AdminServiceDeps): ServiceImpl<typeof AdminService> {
  const { tokens, clock, fingerprint, disk, installer } = deps;
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
      return { secret: formatToken({ secret, fingerprint }), token: tokenOf(info) };
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
        installerUrl: installer().url,
        installerKeyPin: installer().keyPin ?? "",
      };
    },
  };
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
