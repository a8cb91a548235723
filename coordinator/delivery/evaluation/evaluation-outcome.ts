import type { ActionResult } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import { readBlob } from "../../../shared/cas/read-blob.ts";
import { digestFromMessage } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { pipelineOutput, refusedExit } from "../../../shared/pipeline/evaluation/evaluator.ts";
import type { Problem } from "../../../shared/pipeline/pipeline.ts";
import type { ExecutionOutcome } from "../../farm/scheduler/scheduler.ts";
import { invalidPipeline } from "../run/invalid-pipeline.ts";
import type { EvaluatedPipeline } from "./pipeline-evaluations.ts";

/** The pipeline that an evaluation left. @throws MillraceError with the reason why there is none, for who wrote the file */
export async function evaluatedBy(
  cas: Cas,
  file: string,
  { ending, result }: Pick<ExecutionOutcome, "ending" | "result">,
  signal: AbortSignal,
): Promise<EvaluatedPipeline> {
  const { kind, exitCode } = ending;
  if (kind === EndingKind.EXITED && exitCode === 0 && result !== undefined)
    return await pipelineIn(cas, file, result, signal);
  const code = codeOf(kind);
  if (code !== "invalid_argument") throw new MillraceError(code, `evaluating ${file}: ${ending.detail || "it ended"}`);
  const said = result === undefined ? "" : await endOfLog(cas, result, signal);
  throw invalidPipeline(problemsIn(file, { ...ending, said }));
}

async function pipelineIn(
  cas: Cas,
  file: string,
  { outputFiles }: ActionResult,
  signal: AbortSignal,
): Promise<EvaluatedPipeline> {
  const found = outputFiles.find(({ path }) => path === pipelineOutput)?.digest;
  const digest = found && digestFromMessage(found);
  const message =
    digest === undefined
      ? "it left something that is no file in the place of its pipeline"
      : `the pipeline is larger than ${limits.pipelineFileBytes} bytes as JSON`;
  if (digest === undefined || digest.sizeBytes > limits.pipelineFileBytes)
    throw invalidPipeline([{ file, line: 1, column: 1, message }]);
  return { text: new TextDecoder().decode(await readBlob(cas, digest, signal)), digest };
}

/** Not `unavailable`: the farm has tried several times, and a client would take that for a coordinator that is away. */
function codeOf(kind: EndingKind): "invalid_argument" | "failed_precondition" {
  const farms: readonly EndingKind[] = [EndingKind.INFRASTRUCTURE, EndingKind.AGENT_LOST, EndingKind.CANCELLED];
  return farms.includes(kind) ? "failed_precondition" : "invalid_argument";
}

/** Of hostile texts, too: a terminal that shows them obeys none. */
async function endOfLog(cas: Cas, { stdoutDigest }: ActionResult, signal: AbortSignal): Promise<string> {
  if (stdoutDigest === undefined) return "";
  const digest = digestFromMessage(stdoutDigest);
  const offset = Math.max(0, digest.sizeBytes - limits.evaluationLogBytes);
  if (digest.sizeBytes === 0) return "";
  const raw = Buffer.concat(await Array.fromAsync(cas.read(digest, { offset }, signal))).toString("utf8");
  const text = raw.replace(/[^\P{Cc}\n\t]/gu, "\ufffd");
  return (offset === 0 ? text : `…${text.slice(text.indexOf("\n") + 1)}`).trim();
}

interface Failure {
  readonly kind: EndingKind;
  readonly exitCode: number;
  readonly signal: string;
  readonly detail: string;
  readonly said: string;
}

/** What the evaluator found wrong, each by itself; of what failed otherwise, all that was printed, where it happened. */
function problemsIn(file: string, failure: Failure): Problem[] {
  const { kind, exitCode, said } = failure;
  const at = { file, line: 1, column: 1 };
  if (kind === EndingKind.EXITED && exitCode === refusedExit) {
    const found = said.split("\n").flatMap((line): Problem[] => {
      const [name, path, ...message] = line.split(": ");
      return name === file && path !== undefined && message.length > 0
        ? [{ ...at, path, message: message.join(": ") }]
        : [];
    });
    if (found.length > 0) return found;
  }
  const wrong = kind === EndingKind.EXITED ? noProgram.exec(said) : null;
  if (wrong !== null) {
    const [, path = file, line, column, message = ""] = wrong;
    return [{ file: path, line: Number(line), column: Number(column), message, ...hintFor(said) }];
  }
  const isSaid = said !== "" && (kind === EndingKind.EXITED || kind === EndingKind.OUTPUT_MISSING);
  const place = kind === EndingKind.EXITED ? placeIn(said) : {};
  return [{ ...at, ...place, message: isSaid ? said : howItEnded(failure), ...hintFor(said) }];
}

function howItEnded({ kind, exitCode, signal, detail, said }: Failure): string {
  if (said.includes("JavaScript heap out of memory"))
    return `it needs more than ${limits.evaluationMemoryMib} MiB of memory; at most that is given to an evaluation`;
  const bySignal = signal === "" ? "" : ` by ${signal}`;
  const how = kind === EndingKind.EXITED ? `it ended with status ${exitCode}` : detail || `it was ended${bySignal}`;
  return said === "" ? how : `${how}; it had printed:\n${said}`;
}

/** For what people run into who do not know yet what an evaluation may do. */
function hintFor(said: string): { readonly hint?: string } {
  if (/Use --allow-(?!fs-read)/.test(said))
    return { hint: "the evaluation may read its inputs and do nothing else; let a task do it" };
  if (/\b(?:ECONNREFUSED|ENETUNREACH|ENETDOWN|EHOSTUNREACH|ENOTFOUND|EAI_AGAIN)\b/.test(said))
    return { hint: "an evaluation has no network; let a task fetch it, or keep what it needs in a file of the source" };
  if (said.includes("strip-only mode"))
    return {
      hint: "types are left out and nothing is compiled: write what JavaScript has, an object instead of an enum",
    };
  if (!/ERR_MODULE_NOT_FOUND|ENOENT|Use --allow-fs-read/.test(said)) return {};
  return {
    hint: "nothing is there but what it imports by relative paths; name other files in a line `// @inputs <globs>`; packages cannot be used",
  };
}

/** What the evaluator says of a file that cannot be compiled, which is the last that it says. */
const noProgram = /^([^:\n]+):(\d{1,9}):(\d{1,9}): (SyntaxError: [^]*)$/m;

/** The first place that a stack names: `at compile (lib/tasks.ts:3:7)`. */
function placeIn(stack: string): Partial<Problem> {
  const [, file, line, column = "1"] = /(?:^|[\s(])([^\s():]+\.[cm]?[jt]s):(\d{1,9})(?::(\d{1,9}))?/m.exec(stack) ?? [];
  return file === undefined ? {} : { file, line: Number(line), column: Number(column) };
}
