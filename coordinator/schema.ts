import { diskCasSchema } from "../shared/cas/disk-index.ts";
import type { SchemaPart } from "../shared/sqlite/sqlite.ts";
import { tokenSchema } from "./delivery/access/tokens.ts";
import { auditSchema } from "./delivery/audit/stored-audit.ts";
import { candidateSchema } from "./delivery/run/approved-candidates.ts";
import { runSummarySchema } from "./delivery/run/run-summaries.ts";
import { secretSchema } from "./delivery/secret/stored-secrets.ts";
import { actionCacheSchema } from "./farm/action-cache/sqlite-action-cache.ts";
import { agentSchema } from "./farm/agents/bus-agent-registry.ts";
import { enrolmentSchema } from "./farm/agents/sqlite-enrolments.ts";
import { poolSchema } from "./farm/pools/pool-table.ts";
import { executionSchema } from "./farm/scheduler/execution-table.ts";
import { eventStoreSchema } from "./store/sqlite-event-store.ts";

/** The tables of the coordinator: one database, so that what happens at the same time shares a commit. */
export const coordinatorSchema: readonly SchemaPart[] = [
  eventStoreSchema,
  diskCasSchema,
  actionCacheSchema,
  executionSchema,
  agentSchema,
  enrolmentSchema,
  poolSchema,
  tokenSchema,
  runSummarySchema,
  secretSchema,
  candidateSchema,
  auditSchema,
];
