import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { AuditService } from "../../../proto/gen/millrace/v1/audit_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { AuditLog } from "../../delivery/audit/audit-log.ts";

const pageSizeDefault = 100;

/** AuditService: who changed what. */
export function auditService(audit: Pick<AuditLog, "page" | "verify">): ServiceImpl<typeof AuditService> {
  return {
    async listAuditRecords({ since, project, pageSize, pageToken }) {
      const limit = Math.min(pageSize > 0 ? pageSize : pageSizeDefault, limits.listPage);
      const { records, next } = await audit.page({
        before: beforeOf(pageToken),
        sinceMs: since === undefined ? undefined : timestampMs(since),
        project: project === "" ? undefined : project,
        limit,
      });
      return { records: [...records], nextPageToken: next === undefined ? "" : String(next) };
    },

    async verifyAudit({ expectedSequence, expectedHash }) {
      const expected =
        expectedSequence === 0n ? undefined : { sequence: Number(expectedSequence), hash: expectedHash.toLowerCase() };
      const { records, head, faults } = await audit.verify(expected);
      const [fault] = faults;
      return {
        records: BigInt(records),
        headSequence: BigInt(head?.sequence ?? 0),
        headHash: head?.hash ?? "",
        ...(fault === undefined ? {} : { fault }),
        faults: [...faults],
      };
    },
  };
}

/** A page token is the sequence of the last record that was looked at. */
function beforeOf(pageToken: string): number | undefined {
  if (pageToken === "") return undefined;
  if (/^[1-9]\d{0,14}$/.test(pageToken)) return Number(pageToken);
  throw new MillraceError("invalid_argument", `"${pageToken}" is no page token`);
}
