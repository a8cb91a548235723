import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { judgeAgents, judgeClock, judgeDiskOf, judgeVersion } from "../../../cli/doctor/farm.ts";
import { type Finding, isHealthy } from "../../../cli/doctor/finding.ts";
import { checkNode, judgeDisk, judgeNats } from "../../../cli/doctor/machine.ts";
import { AgentSchema, AgentState, DiskSpaceSchema } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { limits } from "../../../shared/limits.ts";

const agent = (id: string, state: AgentState, features: string[] = [], version = "0.1.0") =>
  create(AgentSchema, { state, info: { id, version, features } });

test("a farm without an agent that works is not healthy; one with a degraded agent is, and says what to do", () => {
  expect(isHealthy(judgeAgents([agent("a", AgentState.LOST)], "0.1.0"))).toBe(false);
  const findings = judgeAgents(
    [
      agent("a", AgentState.ONLINE, ["input-root:copy", "containment:cgroup-v2"]),
      agent("b", AgentState.ONLINE, ["input-root:overlay"], "0.0.9"),
      agent("c", AgentState.DRAINING, ["input-root:copy"]),
    ],
    "0.1.0",
  );
  expect(isHealthy(findings)).toBe(true);
  expect(findings.map(({ check, status, detail }) => [check, status, detail])).toEqual([
    ["agents", "ok", "2 online, 1 lost or draining"],
    ["agent a", "warning", "input-root:copy"],
    ["agent b", "warning", "version 0.0.9, the coordinator has 0.1.0"],
  ]);
  for (const { status, fix } of findings) expect(fix !== undefined).toBe(status !== "ok");
});

test("a part of the farm whose disk has less free than it should is told of; a full one fails", () => {
  const disk = (freeBytes: number) =>
    create(DiskSpaceSchema, {
      folder: "/d",
      freeBytes: BigInt(freeBytes),
      sizeBytes: 2n ** 30n,
      floorBytes: 2n ** 25n,
    });
  expect(judgeDiskOf("agent a", undefined)).toEqual([]);
  expect(judgeDiskOf("agent a", disk(2 ** 25))).toEqual([]);
  expect(judgeDiskOf("agent a", disk(2 ** 24))).toMatchObject([
    { check: "agent a", status: "warning", detail: "/d has 16.0 MiB of 1.0 GiB free" },
  ]);
  expect(judgeDiskOf("agent a", disk(0))).toMatchObject([{ status: "failed" }]);
  const online = create(AgentSchema, { state: AgentState.ONLINE, info: { id: "a", version: "0.1.0" }, disk: disk(0) });
  expect(isHealthy(judgeAgents([online], "0.1.0"))).toBe(false);
});

test("clocks may differ by what a call takes and a little more", () => {
  fc.assert(
    fc.property(fc.integer({ min: -100_000, max: 100_000 }), fc.integer({ min: 0, max: 10_000 }), (ahead, tripMs) => {
      const { status } = judgeClock(ahead, tripMs);
      expect(status === "ok").toBe(Math.abs(ahead) <= limits.doctorClockMs + tripMs / 2);
    }),
  );
});

test("what is too old or too small fails or warns, with what to do", () => {
  const found: readonly (readonly [Finding, Finding["status"]])[] = [
    [checkNode("v24.21.0"), "ok"],
    [checkNode("v20.20.2"), "failed"],
    [judgeNats("/n", [2, 10]), "ok"],
    [judgeNats("/n", [2, 9]), "warning"],
    [judgeDisk(limits.doctorDiskBytes), "ok"],
    [judgeDisk(limits.doctorDiskLeastBytes), "warning"],
    [judgeDisk(limits.doctorDiskLeastBytes - 1), "failed"],
    [judgeVersion("command line", "0.1.0", "0.1.3"), "ok"],
    [judgeVersion("command line", "0.1.0", "0.2.0"), "warning"],
  ];
  for (const [finding, status] of found) {
    expect(finding.status, finding.detail).toBe(status);
    expect(finding.fix !== undefined).toBe(status !== "ok");
  }
});
