import { create, type MessageInitShape } from "@bufbuild/protobuf";
import pc from "picocolors";
import { describe, expect, it } from "vitest";
import { describeGate } from "../../../../cli/output/describe-gate.ts";
import { GateDecision } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { GateSchema } from "../../../../proto/gen/millrace/v1/run_pb.ts";
import { digestToMessage, emptyDigest } from "../../../../shared/digest.ts";

const binding = digestToMessage(emptyDigest);
const said = (more: MessageInitShape<typeof GateSchema>) => {
  const gate = create(GateSchema, more);
  const colors = pc.createColors(false);
  return describeGate({ run: { name: "run_1" }, task: { stage: "explore" }, gate, colors, nowMs: 0 });
};

describe("a gate, for a person", () => {
  it("names the word that is still possible", () => {
    expect(said({ binding })).toContain("millrace approve run_1 explore");
    expect(said({ binding, supersededBy: "run_2" })).toContain("millrace reject run_1 explore");
  });

  it("keeps what people say over several lines in its place", () => {
    const comment = "fine\nby me";
    const votes = [{ principal: "user:anna", comment }];
    const text = said({
      binding,
      votes,
      decided: { decision: GateDecision.APPROVED, comment },
      decidedBy: "user:anna",
    });
    expect(text.match(/: fine\n    by me\n/g)).toHaveLength(2);
  });

  it("tells the decision from the votes that led to it", () => {
    const text = said({
      binding,
      votes: [{ principal: "user:anna" }],
      decided: { decision: GateDecision.APPROVED },
      decidedBy: "user:anna",
    });
    expect(text.split("\n").filter((line) => /^ {2}(decided: )?approved by user:anna/.test(line))).toHaveLength(2);
    expect(text).toContain("  decided: approved by user:anna");
  });
});
