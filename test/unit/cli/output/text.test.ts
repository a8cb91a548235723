import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import pc from "picocolors";
import { describe, expect, it } from "vitest";
import { coloursWanted } from "../../../../cli/output/console.ts";
import { formatAgo, formatDuration } from "../../../../cli/output/format.ts";
import { endingLabel } from "../../../../cli/output/labels.ts";
import { lineSplitter } from "../../../../cli/output/line-splitter.ts";
import { safeText } from "../../../../cli/output/safe-text.ts";
import { table } from "../../../../cli/output/table.ts";
import { taskPrefixes } from "../../../../cli/output/task-prefix.ts";
import { EndingKind, EndingSchema } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { formatBytes } from "../../../../shared/format-bytes.ts";

describe("lines of a log", () => {
  it("are the same however the bytes are cut", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: "grapheme" }).map((text) => text.replace(/[\r\n]/g, ""))),
        fc.array(fc.nat(7)),
        (lines, cuts) => {
          const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(""));
          const splitter = lineSplitter(10_000);
          const got: string[] = [];
          let at = 0;
          for (const length of cuts) {
            got.push(...splitter.push(bytes.subarray(at, at + length)));
            at += length;
          }
          got.push(...splitter.push(bytes.subarray(at)), ...splitter.flush());
          expect(got).toEqual(lines);
        },
      ),
    );
  });

  it("include a last one without a newline, once", () => {
    const splitter = lineSplitter(100);
    expect(splitter.push(Buffer.from("a\nb"))).toEqual(["a"]);
    expect(splitter.flush()).toEqual(["b"]);
    expect(splitter.flush()).toEqual([]);
  });

  it("show the last state of a progress bar, and take \\r\\n for a newline", () => {
    const splitter = lineSplitter(100);
    expect(splitter.push(Buffer.from("10%\r20%\rdone\nplain\r\n"))).toEqual(["done", "plain"]);
  });

  it("come in pieces when they do not end, so that memory is bounded", () => {
    const splitter = lineSplitter(4);
    expect(splitter.push(Buffer.from("abcdefghij"))).toEqual(["abcd", "efgh"]);
    expect(splitter.flush()).toEqual(["ij"]);
  });
});

describe("output on a terminal", () => {
  it("keeps colours and text", () => {
    const line = "\u001b[1;31mred\u001b[0m\tünï ✓";
    expect(safeText(line)).toBe(line);
  });

  it.each([
    ["moves of the cursor", "a\u001b[2Jb\u001b[1;1H", "ab"],
    ["window titles", "\u001b]0;evil\u0007text", "text"],
    ["writes to the clipboard", "\u001b]52;c;ZXZpbA==\u001b\\text", "text"],
    ["an unfinished string", "a\u001bP1$q", "a"],
    ["single control characters", "a\bb\u0000c\u009b2J", "abc2J"],
    ["a lone escape", "a\u001b", "a"],
    ["resets", "\u001bctext", "text"],
  ])("loses %s", (_what, line, shown) => {
    expect(safeText(line)).toBe(shown);
  });

  it("never has an escape that is not a colour", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("\u001b", "[", "]", "m", "1", ";", "H", "\u0007", "x") }),
        (line) => {
          expect(safeText(line).replace(/\u001b\[[0-9;:]*m/g, "")).not.toMatch(
            /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/,
          );
        },
      ),
    );
  });

  it("has colours only there, and not when NO_COLOR says so", () => {
    expect(coloursWanted({}, true)).toBe(true);
    expect(coloursWanted({}, false)).toBe(false);
    expect(coloursWanted({ NO_COLOR: "1" }, true)).toBe(false);
    expect(coloursWanted({ NO_COLOR: "" }, true)).toBe(true);
    expect(coloursWanted({ TERM: "dumb" }, true)).toBe(false);
  });
});

describe("tables and figures", () => {
  it("align columns by what is visible and leave no blanks at the end", () => {
    const { green } = pc.createColors(true);
    expect(
      table(
        ["A", "B"],
        [
          [green("long"), "x"],
          ["s", ""],
        ],
      ),
    ).toBe(`A     B\n${green("long")}  x\ns\n`);
  });

  it("keep a text of several lines in its column", () => {
    expect(
      table(
        ["A", "B"],
        [
          ["s", "one\n  two"],
          ["t", ""],
        ],
      ),
    ).toBe("A  B\ns  one\n     two\nt\n");
  });

  it("say of what was refused only why", () => {
    const refused = create(EndingSchema, { kind: EndingKind.REFUSED, detail: "its tasks cannot be planned" });
    expect(endingLabel(refused)).toBe("was refused: its tasks cannot be planned");
  });

  it("give durations and sizes in the unit that fits", () => {
    expect([0, 90, 4_200, 59_960, 185_000, 7_620_000].map(formatDuration)).toEqual([
      "0 ms",
      "90 ms",
      "4.2 s",
      "1 min 0 s",
      "3 min 5 s",
      "2 h 7 min",
    ]);
    expect([0, 812, 3_482, 1_048_576, 1_288_490_189].map(formatBytes)).toEqual([
      "0 B",
      "812 B",
      "3.4 KiB",
      "1.0 MiB",
      "1.2 GiB",
    ]);
    expect(formatAgo(0, 200_000)).toBe("3 min ago");
  });

  it("put the task's name in front of its lines, aligned with the others", () => {
    const { prefix, announce } = taskPrefixes(pc.createColors(false));
    announce(["build/compile", "verify/unit"]);
    expect(prefix("verify/unit")).toBe("verify/unit   │ ");
    expect(prefix("build/compile")).toBe("build/compile │ ");
  });
});
