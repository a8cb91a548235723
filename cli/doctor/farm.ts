import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import type { AdminService, DescribeCoordinatorResponse } from "../../proto/gen/millrace/v1/admin_pb.ts";
import { type Agent, type AgentService, AgentState, type DiskSpace } from "../../proto/gen/millrace/v1/agent_pb.ts";
import type { Clock } from "../../shared/clock.ts";
import { from } from "../../shared/errors.ts";
import { formatBytes } from "../../shared/format-bytes.ts";
import { limits } from "../../shared/limits.ts";
import { fitsVersion, version } from "../../shared/version.ts";
import type { Finding } from "./finding.ts";

export interface FarmDoctorDeps {
  readonly address: string;
  readonly admin: Client<typeof AdminService>;
  readonly agents: Client<typeof AgentService>;
  readonly clock: Clock;
}

/** Asks the coordinator; what it cannot answer is skipped. */
export async function checkFarm({ address, admin, agents, clock }: FarmDoctorDeps): Promise<Finding[]> {
  const options = { timeoutMs: limits.doctorCallMs };
  const askedMs = clock.nowMs();
  let described: DescribeCoordinatorResponse;
  try {
    described = await admin.describeCoordinator({}, options);
  } catch (error) {
    return unanswered(address, error);
  }
  const answeredMs = clock.nowMs();
  const theirMs = described.time === undefined ? answeredMs : timestampMs(described.time);
  const findings: Finding[] = [
    { check: "coordinator", status: "ok", detail: `${address}, version ${described.version}` },
    { check: "token", status: "ok", detail: described.principal },
    judgeClock(theirMs - (askedMs + answeredMs) / 2, answeredMs - askedMs),
    judgeVersion("command line", version, described.version),
    ...judgeDiskOf("coordinator disk", described.disk),
  ];
  try {
    return [...findings, ...judgeAgents((await agents.listAgents({}, options)).agents, described.version)];
  } catch (error) {
    const detail = from(error).message;
    return [
      ...findings,
      { check: "agents", status: "skipped", detail, fix: "ask with a token of a person, of whatever role" },
    ];
  }
}

function unanswered(address: string, error: unknown): Finding[] {
  const { code, message } = from(error);
  const rest = (["clock", "command line", "agents"] as const).map(
    (check): Finding => ({ check, status: "skipped", detail: "the coordinator did not answer" }),
  );
  if (code === "unauthenticated" || code === "permission_denied") {
    const fix = "an admin makes one with `millrace token create`; give it with --token or MILLRACE_TOKEN";
    return [
      { check: "coordinator", status: "ok", detail: address },
      { check: "token", status: "failed", detail: message, fix },
      ...rest,
    ];
  }
  const fix = "start it with `millrace up --detach`, or give its address with --address or MILLRACE_ADDRESS";
  return [
    {
      check: "coordinator",
      status: "failed",
      detail: message.includes(address) ? message : `${address}: ${message}`,
      fix,
    },
    { check: "token", status: "skipped", detail: "the coordinator did not answer" },
    ...rest,
  ];
}

/** @param aheadMs how far the coordinator's clock is ahead of ours, known to half of `roundTripMs` */
export function judgeClock(aheadMs: number, roundTripMs: number): Finding {
  const check = "clock";
  const off = Math.abs(aheadMs);
  const detail = `the coordinator's is ${(off / 1000).toFixed(1)} s ${aheadMs < 0 ? "behind" : "ahead"}`;
  if (off <= limits.doctorClockMs + roundTripMs / 2) return { check, status: "ok", detail };
  return {
    check,
    status: "warning",
    detail,
    fix: "set both by NTP: times of runs and the expiry of tokens are off by as much",
  };
}

/** Whether a program of this version works with that coordinator. */
export function judgeVersion(check: string, theirs: string, coordinator: string): Finding {
  const [major, minor] = coordinator.split(".");
  const fits = theirs === coordinator || (fitsVersion(theirs) && theirs.startsWith(`${major}.${minor}.`));
  if (fits) return { check, status: "ok", detail: `version ${theirs}` };
  const fix = "install the same version on both sides";
  return { check, status: "warning", detail: `version ${theirs}, the coordinator has ${coordinator}`, fix };
}

/** Who is there, whether their versions fit, whether they have room, and what their machines cannot do. */
export function judgeAgents(agents: readonly Agent[], coordinator: string): Finding[] {
  const online = agents.filter(({ state }) => state === AgentState.ONLINE);
  const enrolled = agents.filter(({ state }) => state === AgentState.ENROLLED).length;
  const others = agents.length - online.length - enrolled;
  const lost = others === 0 ? "" : `, ${others} lost or draining`;
  const detail = `${online.length} online${lost}${enrolled === 0 ? "" : `, ${enrolled} enrolled that never joined`}`;
  const findings: Finding[] = [];
  if (online.length === 0) {
    const fix = "start one with `millrace agent`, or resume one with `millrace agents resume ID`";
    findings.push({ check: "agents", status: "failed", detail, fix });
  } else findings.push({ check: "agents", status: "ok", detail });
  for (const { info, disk } of online) {
    if (info === undefined) continue;
    if (info.version !== coordinator) findings.push(judgeVersion(`agent ${info.id}`, info.version, coordinator));
    findings.push(...judgeDiskOf(`agent ${info.id}`, disk));
    for (const feature of info.features) {
      const degraded = degradedFeatures.find(({ pattern }) => pattern.test(feature));
      if (degraded === undefined) continue;
      findings.push({ check: `agent ${info.id}`, status: "warning", detail: feature, fix: degraded.fix });
    }
  }
  return findings;
}

/** Whether a part of the farm has room for the next task; nothing when it has, or does not say. */
export function judgeDiskOf(check: string, disk: DiskSpace | undefined): Finding[] {
  if (disk === undefined || disk.freeBytes >= disk.floorBytes) return [];
  const [free, size] = [disk.freeBytes, disk.sizeBytes].map((bytes) => formatBytes(Number(bytes)));
  const status = disk.freeBytes < limits.diskFullBytes ? "failed" : "warning";
  const fix = "free some space there or enlarge it: tasks will fail for want of it";
  return [{ check, status, detail: `${disk.folder} has ${free} of ${size} free`, fix }];
}

const degradedFeatures: readonly { readonly pattern: RegExp; readonly fix: string }[] = [
  {
    pattern: /^input-root:(?!overlay)/,
    fix: "inputs are copied: allow overlay mounts in user namespaces (kernel 5.11 or later)",
  },
  {
    pattern: /^containment:(best-effort|process-group|none)/,
    fix: "a task's processes may outlive it: give the agent a cgroup of its own (systemd: Delegate=yes)",
  },
  { pattern: /^sandbox:none/, fix: "tasks see the whole machine: install bubblewrap" },
];
