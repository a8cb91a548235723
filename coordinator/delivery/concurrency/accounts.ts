import type { ProjectQuotas } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { describeQuota } from "./describe.ts";
import { type Claim, emptyQuota, enqueueClaim, holdClaim, leaveQuota, type Quota, settleQuota } from "./quota.ts";

/** A task that runs on its project's account, or wants to. */
export interface Account<Run> {
  readonly project: string;
  readonly claim: Claim;
  readonly run: Run;
  /** `stage/task`. */
  readonly task: string;
}

export interface AccountsDeps<Run> {
  readonly quotasOf: (project: string) => ProjectQuotas;
  /** It waited and counts as running now. */
  readonly onTurn: (account: Account<Run>) => void;
}

/** The quotas of all projects, and what counts for which. */
export interface Accounts<Run> {
  /** Whether it may run; who asks for the first time waits from then on. */
  ask(account: Account<Run>): boolean;
  /** It ran before a restart (`runs`), or waited for it. Quotas are not settled before `settleAll`. */
  takeUp(account: Account<Run>, runs: boolean): void;
  settleAll(): void;
  leave(id: string): void;
  /** For a person, why it waits; undefined for what runs or never asked. */
  waitOf(id: string): string | undefined;
}

export function accounts<Run>(deps: AccountsDeps<Run>): Accounts<Run> {
  const quotas = new Map<string, Quota>();
  const known = new Map<string, Account<Run>>();

  function quotaOf(project: string): Quota {
    const quota = quotas.get(project) ?? emptyQuota();
    quotas.set(project, quota);
    return quota;
  }

  /** @param asking is not told of its own turn: it hears it as the answer */
  function settleProject(project: string, quota: Quota, asking?: string): void {
    for (const { id } of settleQuota(quota, deps.quotasOf(project).runningTasks)) {
      const account = known.get(id);
      if (account !== undefined && id !== asking) deps.onTurn(account);
    }
    if (quota.running.size === 0 && quota.waiting.size === 0) quotas.delete(project);
  }

  function takeUp(account: Account<Run>, runs: boolean): void {
    known.set(account.claim.id, account);
    if (runs) holdClaim(quotaOf(account.project), account.claim);
    else enqueueClaim(quotaOf(account.project), account.claim);
  }

  return {
    takeUp,
    ask(account) {
      const { id } = account.claim;
      const quota = quotaOf(account.project);
      if (!known.has(id)) {
        takeUp(account, false);
        settleProject(account.project, quota, id);
      }
      return quota.running.has(id);
    },
    settleAll() {
      for (const [project, quota] of [...quotas]) settleProject(project, quota);
    },
    leave(id) {
      const account = known.get(id);
      if (account === undefined) return;
      known.delete(id);
      const quota = quotaOf(account.project);
      leaveQuota(quota, account.claim);
      settleProject(account.project, quota);
    },
    waitOf(id) {
      const account = known.get(id);
      if (account === undefined) return undefined;
      const quota = quotaOf(account.project);
      if (quota.running.has(id)) return undefined;
      return describeQuota(account.project, quota, deps.quotasOf(account.project).runningTasks);
    },
  };
}
