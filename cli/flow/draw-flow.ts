import type { Bottleneck, PipelineFlow, RunFlow, StageFlow } from "../../proto/gen/millrace/v1/flow_pb.ts";
import type { Colors } from "../output/console.ts";
import { counted, formatDuration } from "../output/format.ts";
import { paintStatus, runStatusLabel, waitCauseCode, waitCauseLabel } from "../output/labels.ts";
import { table } from "../output/table.ts";
import { timeLadder } from "./time-ladder.ts";

interface Paper {
  readonly colors: Colors;
  readonly columns: number;
}

/** Where the time of a run went, for a person: the bottleneck first, then the ladder, then a row for each stage. */
export function drawRunFlow(flow: RunFlow, { colors, columns }: Paper): string {
  const status = runStatusLabel(flow.status);
  const soFar = status === "running" ? " so far" : "";
  const leadMs = Number(flow.leadTimeMs);
  const processMs = Number(flow.processMs);
  return [
    `${colors.bold(flow.run)}  ${flow.pipeline}  ${paintStatus(colors, status)}\n`,
    bottleneckLine(flow.bottleneck, leadMs, colors),
    `lead time ${formatDuration(leadMs)}${soFar}: process ${formatDuration(processMs)}, ` +
      `wait ${formatDuration(leadMs - processMs)}; flow efficiency ${percent(processMs, leadMs)}\n`,
    `\n${timeLadder(flow.segments, columns)}`,
    `\n${stageTable(flow.stages, leadMs)}`,
  ].join("");
}

/** The same over several runs. Medians do not sum, so there is no ladder. */
export function drawPipelineFlow(flow: PipelineFlow, { colors }: Pick<Paper, "colors">): string {
  const leadMs = Number(flow.leadTimeMs);
  return [
    `${colors.bold(flow.pipeline)}  medians over ${counted(flow.runs.length, "successful run")}, ` +
      `${flow.runs.at(-1)} to ${flow.runs[0]}\n`,
    bottleneckLine(flow.bottleneck, leadMs, colors),
    `lead time ${formatDuration(leadMs)}, process ${formatDuration(Number(flow.processMs))}, ` +
      `flow efficiency ${Math.round(flow.efficiency * 100)} %\n`,
    `\n${stageTable(flow.stages, leadMs)}`,
  ].join("");
}

function bottleneckLine(bottleneck: Bottleneck | undefined, leadMs: number, colors: Colors): string {
  if (bottleneck === undefined) return "no bottleneck: it took no time\n";
  const { stage, process, wait } = bottleneck;
  const durationMs = Number(bottleneck.durationMs);
  const what = process ? "the work itself" : waitCauseLabel(wait);
  const name = colors.bold(colors.yellow(`bottleneck: ${stage}, ${what}`));
  return `${name}: ${formatDuration(durationMs)}, ${percent(durationMs, leadMs)} of the lead time\n`;
}

function stageTable(stages: readonly StageFlow[], leadMs: number): string {
  const rows = stages.map(({ stage, processMs, waits }) => {
    const waitMs = waits.reduce((sum, { durationMs }) => sum + Number(durationMs), 0);
    const causes = waits.map(
      ({ cause, durationMs }) => `${waitCauseCode(cause)} ${formatDuration(Number(durationMs))}`,
    );
    const share = percent(Number(processMs) + waitMs, leadMs);
    return [stage, formatDuration(Number(processMs)), formatDuration(waitMs), share, causes.join(", ")];
  });
  return table(["STAGE", "PROCESS", "WAIT", "SHARE", "WAITED FOR"], rows);
}

function percent(partMs: number, wholeMs: number): string {
  return wholeMs === 0 ? "0 %" : `${Math.round((partMs / wholeMs) * 100)} %`;
}
