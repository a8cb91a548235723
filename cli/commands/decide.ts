import { Command } from "commander";
import { GateDecision } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Gate, Run, Task } from "../../proto/gen/millrace/v1/run_pb.ts";
import { MillraceError } from "../../shared/errors.ts";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { fetchRun } from "../fetch-run.ts";
import { namedValues } from "../option-values.ts";
import { processConsole } from "../output/console.ts";
import { describeGate } from "../output/describe-gate.ts";
import { decisionLabel } from "../output/run-json.ts";
import { parseRunName } from "../run-name.ts";

interface DecideOptions extends ConnectionOptions {
  readonly comment?: string;
  readonly binding?: string;
  readonly field?: Readonly<Record<string, string>>;
  readonly check?: readonly string[];
  readonly checkAll?: boolean;
  readonly withdraw?: boolean;
  readonly json?: boolean;
}

/** `millrace approve`. */
export function approveCommand(): Command {
  return decideCommand("approve", GateDecision.APPROVED)
    .description(
      "Approve at the gate of a manual stage; the run goes on when as many people have as the gate asks for.\n" +
        "The approval is about exact digests. Until the gate is decided it can be changed, and taken back.",
    )
    .option("--comment <text>", "kept with the decision")
    .option("--field <name=value...>", "what the gate wants to be filled in", namedValues)
    .option(
      "--check <n...>",
      "items of the checklist that you have looked at, from 1; each has to be ticked by somebody",
    )
    .option("--check-all", "all of them")
    .option("--withdraw", "take your approval back")
    .addHelpText(
      "after",
      '\nExamples:\n  $ millrace show 12\n  $ millrace approve 12 explore --comment "refunds work"\n' +
        "  $ millrace approve 12 explore --check-all --field ticket=T-17",
    );
}

/** `millrace reject`. */
export function rejectCommand(): Command {
  return decideCommand("reject", GateDecision.REJECTED)
    .description("Reject at the gate of a manual stage: the stage fails, and what needs it is skipped.")
    .requiredOption("--comment <text>", "what has to change; kept with the decision")
    .addHelpText("after", '\nExample:\n  $ millrace reject 12 explore --comment "refunds round the wrong way"');
}

function decideCommand(name: string, decision: GateDecision): Command {
  return withConnectionOptions(new Command(name))
    .argument("<run>", "the run, as 12 or run_12")
    .argument("<stage>", "the manual stage")
    .option(
      "--binding <hash>",
      "decide only about what `millrace show` printed with this binding; default: what is there now",
    )
    .option("--json", "print one JSON object")
    .action((run: string, stage: string, options: DecideOptions) => decide({ run, stage, decision }, options));
}

async function decide(
  asked: { readonly run: string; readonly stage: string; readonly decision: GateDecision },
  options: DecideOptions,
): Promise<void> {
  const console = processConsole();
  const { stage, decision } = asked;
  await withConnection(options, async (connection) => {
    const run = await fetchRun(connection, parseRunName(asked.run));
    const task = gateOf(run, stage);
    const gate = task?.gate;
    if (task !== undefined && gate !== undefined && !options.json) {
      console.note(describeGate({ run, task, gate, colors: console.colors, nowMs: Date.now() }));
    }
    if (options.withdraw === true) {
      const { hadNone } = await connection.runs.withdrawVote({ run: run.name, stage });
      if (hadNone) throw new MillraceError("not_found", nothingToWithdraw(run, stage, gate));
      if (options.json) return console.writeJson({ run: run.name, stage, withdrawn: true });
      return console.write(`your approval at ${stage} of ${run.name} is taken back\n`);
    }
    const binding = options.binding ?? gate?.binding?.hash ?? "";
    const { comment = "" } = options;
    const form = { fields: { ...options.field }, checked: checkedOf(options, gate) };
    const answer = await connection.runs.decideGate({ run: run.name, stage, decision, comment, binding, ...form });
    const said = decisionLabel(decision);
    const missing = answer.gate?.missing ?? [];
    if (options.json) return console.writeJson({ run: run.name, stage, decision: said, binding, missing });
    const open = missing.length === 0 ? "" : `; it takes ${missing.join(", and ")}`;
    await console.write(`${said} ${stage} of ${run.name}${open}\n`);
  });
}

/** Whose approvals there are tells who looked at another gate from who has another token. */
function nothingToWithdraw({ name }: Run, stage: string, gate: Gate | undefined): string {
  const cast = gate?.votes.map(({ principal }) => principal).join(", ") || "nobody";
  return `there is no approval of yours at ${stage} of ${name} to take back; approved have: ${cast}`;
}

/** People count from 1. @throws MillraceError invalid_argument for what is no number */
function checkedOf({ check = [], checkAll = false }: DecideOptions, gate: Gate | undefined): number[] {
  const items = gate?.planned?.checklist ?? [];
  if (checkAll) return items.map((_item, index) => index);
  const wrong = check.filter((text) => !/^[1-9]\d{0,2}$/.test(text));
  if (wrong.length === 0) return check.map((text) => Number(text) - 1);
  throw new MillraceError(
    "invalid_argument",
    `--check ${wrong.join(" ")}: give numbers of items, ${items.length === 0 ? "of which this gate has none" : `from 1 to ${items.length}`}`,
  );
}

/** @throws MillraceError not_found when there is no such stage; one that is not manual is left to the coordinator. */
function gateOf(run: Run, stage: string): Task | undefined {
  const tasks = run.tasks.filter((task) => task.stage === stage);
  if (tasks.length > 0) return tasks.find((task) => task.gate !== undefined);
  const stages = [...new Set(run.tasks.map((task) => task.stage))].join(", ");
  throw new MillraceError("not_found", `${run.name} has no stage "${stage}"; it has: ${stages}`);
}
