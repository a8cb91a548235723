import { accessSync, constants, existsSync } from "node:fs";
import { dirname } from "node:path";
import { diskSpace } from "../../shared/disk-space.ts";
import { from } from "../../shared/errors.ts";
import { formatBytes } from "../../shared/format-bytes.ts";
import { limits } from "../../shared/limits.ts";
import { defaultDataFolder } from "../data-folder.ts";
import { findNatsServer, natsVersionOf } from "../up/nats.ts";
import type { Finding } from "./finding.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** The Node that runs this. */
export function checkNode(version: string): Finding {
  const check = "Node";
  if (Number(/^v?(\d+)/.exec(version)?.[1] ?? 0) >= 24) return { check, status: "ok", detail: version };
  return {
    check,
    status: "failed",
    detail: `${version}; Millrace needs 24 or later`,
    fix: "start it by bin/millrace, which brings its own; in a checkout: sh deploy/bootstrap.sh",
  };
}

/** What `millrace up` starts. */
export async function checkNats(env: Environment): Promise<Finding> {
  const check = "nats-server";
  try {
    const file = await findNatsServer(env);
    return judgeNats(file, await natsVersionOf(file));
  } catch (error) {
    return { check, status: "failed", detail: from(error).message, fix: "install nats-server 2.10 or later" };
  }
}

/** An older one works, but lacks what a newer has. */
export function judgeNats(file: string, version: readonly [number, number] | undefined): Finding {
  const check = "nats-server";
  const detail = `${file}, version ${version?.join(".") ?? "unknown"}`;
  if (version !== undefined && (version[0] > 2 || version[1] >= 10)) return { check, status: "ok", detail };
  return {
    check,
    status: "warning",
    detail,
    fix: "2.10 or later is better: it keeps what it has through a loss of power",
  };
}

/** Where `millrace up` keeps everything. */
export function checkDataFolder(env: Environment): Finding[] {
  const folder = defaultDataFolder(env);
  let present = folder;
  while (!existsSync(present) && dirname(present) !== present) present = dirname(present);
  const findings: Finding[] = [];
  try {
    accessSync(present, constants.W_OK | constants.X_OK);
    findings.push({
      check: "data folder",
      status: "ok",
      detail: present === folder ? folder : `${folder}, to be made`,
    });
  } catch {
    const fix = "give it to this user, or name another with MILLRACE_DATA";
    findings.push({ check: "data folder", status: "failed", detail: `${present} cannot be written`, fix });
  }
  findings.push(judgeDisk(diskSpace(present).freeBytes));
  return findings;
}

/** @param freeBytes on the disk of the data folder */
export function judgeDisk(freeBytes: number): Finding {
  const check = "free disk";
  const detail = formatBytes(freeBytes);
  const fix = "free some, or move the data folder with MILLRACE_DATA";
  if (freeBytes < limits.doctorDiskLeastBytes) return { check, status: "failed", detail, fix };
  return freeBytes < limits.doctorDiskBytes
    ? { check, status: "warning", detail, fix }
    : { check, status: "ok", detail };
}
