import type { FlowSegment } from "../../proto/gen/millrace/v1/flow_pb.ts";
import { counted, formatDuration } from "../output/format.ts";
import { waitCauseCode } from "../output/labels.ts";

/** One rung: process time of a task, or what was waited before the next. */
interface Step {
  readonly process: boolean;
  readonly label: string;
  readonly durationMs: number;
}

/** More than anybody follows with the finger; the table beside the ladder has all of it. */
const stepsMax = 40;
const head = ["wait", "process"];
const headWidth = 9;

/**
 * The time ladder of a value stream map: two rails, time that was waited on the upper one and process time on the lower
 * one. Waits that follow one another are one step, named after the longest. Breaks into several ladders where the
 * terminal is too narrow. Each line ends with a newline.
 */
export function timeLadder(segments: readonly FlowSegment[], columns: number): string {
  const all = stepsOf(segments);
  const steps = all.slice(0, stepsMax);
  const blocks: Step[][] = [];
  let room = 0;
  for (const step of steps) {
    const width = widthOf(step) + 1;
    if (blocks.length === 0 || width > room) {
      blocks.push([]);
      room = columns - headWidth;
    }
    blocks.at(-1)?.push(step);
    room -= width;
  }
  const more = all.length === steps.length ? "" : `and ${counted(all.length - steps.length, "more step")}\n`;
  return blocks.map(draw).join("\n") + more;
}

function stepsOf(segments: readonly FlowSegment[]): Step[] {
  const steps: Step[] = [];
  let waited: FlowSegment[] = [];
  const endWait = () => {
    const [first, ...others] = waited;
    waited = [];
    if (first === undefined) return;
    const longest = others.reduce((most, segment) => (segment.durationMs > most.durationMs ? segment : most), first);
    const durationMs = [first, ...others].reduce((sum, segment) => sum + Number(segment.durationMs), 0);
    const stage = longest.task.slice(0, Math.max(0, longest.task.indexOf("/")));
    steps.push({ process: false, durationMs, label: stage === "" ? "-" : `${stage}: ${waitCauseCode(longest.wait)}` });
  };
  for (const segment of segments) {
    if (!segment.process) {
      waited.push(segment);
      continue;
    }
    endWait();
    const last = steps.at(-1);
    if (last?.process && last.label === segment.task) steps.pop();
    const before = last?.process && last.label === segment.task ? last.durationMs : 0;
    steps.push({ process: true, label: segment.task, durationMs: before + Number(segment.durationMs) });
  }
  endWait();
  return steps;
}

function widthOf({ label, durationMs }: Step): number {
  return Math.max(label.length, formatDuration(durationMs).length + 4);
}

function draw(steps: readonly Step[]): string {
  const [top = "", bottom = ""] = head;
  const rows = ["".padEnd(headWidth), top.padEnd(headWidth), bottom.padEnd(headWidth), "".padEnd(headWidth)];
  const append = (...cells: readonly string[]) => cells.forEach((cell, row) => (rows[row] += cell));
  for (const [index, step] of steps.entries()) {
    const before = steps[index - 1];
    if (before !== undefined) append(...joint(before.process, step.process));
    const width = widthOf(step);
    const rail = centred(` ${formatDuration(step.durationMs)} `, width, "─");
    const label = centred(step.label, width, " ");
    const blank = " ".repeat(width);
    if (step.process) append(blank, blank, rail, label);
    else append(label, rail, blank, blank);
  }
  return rows.map((row) => `${row.trimEnd()}\n`).join("");
}

function joint(fromProcess: boolean, toProcess: boolean): readonly [string, string, string, string] {
  if (fromProcess && toProcess) return [" ", " ", "─", " "];
  if (fromProcess) return [" ", "┌", "┘", " "];
  return toProcess ? [" ", "┐", "└", " "] : [" ", "─", " ", " "];
}

function centred(text: string, width: number, fill: string): string {
  const left = Math.floor((width - text.length) / 2);
  return fill.repeat(Math.max(0, left)) + text + fill.repeat(Math.max(0, width - text.length - left));
}
