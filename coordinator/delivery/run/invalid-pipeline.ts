import { create } from "@bufbuild/protobuf";
import { BadRequestSchema } from "../../../proto/gen/google/rpc/error_details_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { formatProblem, placeOf } from "../../../shared/pipeline/format-problem.ts";
import type { Problem } from "../../../shared/pipeline/pipeline.ts";

/** What is wrong with a pipeline file, for its caller: all of it, each as a field violation (`field` is file:line:column). */
export function invalidPipeline(problems: readonly Problem[]): MillraceError {
  const fieldViolations = problems.map((problem) => {
    const { message, hint } = problem;
    return { field: placeOf(problem), description: hint === undefined ? message : `${message} (${hint})` };
  });
  const value = create(BadRequestSchema, { fieldViolations });
  return new MillraceError("invalid_argument", problems.map(formatProblem).join("\n"), {
    details: [{ desc: BadRequestSchema, value }],
  });
}
