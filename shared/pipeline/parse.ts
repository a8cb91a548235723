import { limits } from "../limits.ts";
import { buildPipeline } from "./build-pipeline.ts";
import { expandPipeline } from "./expand.ts";
import { placeOf } from "./format-problem.ts";
import { applyIncludes, type ReadFile } from "./includes.ts";
import { entriesOf, type Located, locatedSource, memberOf, positionOf, textsOf } from "./located.ts";
import { locatedReport } from "./located-report.ts";
import type { Pipeline, Problem } from "./pipeline.ts";
import { isTypeScript } from "./pipeline-path.ts";
import { noRun, type PlanContext } from "./plan-context.ts";
import { readableProblem } from "./readable-problem.ts";
import { checkReferences } from "./references.ts";
import { pipelineShape } from "./schema.ts";
import { type PathProblem, shapeProblems } from "./shape-problems.ts";
import { readYaml } from "./yaml-source.ts";

/** What a file is read for. */
export interface ParseOptions {
  /** What the run is about; without it, the file is looked at for its own sake (`noRun`). */
  readonly context?: PlanContext;
  /** Reads the files that it includes; without it, there is no source to read from. */
  readonly readFile?: ReadFile;
  /** Told the file's tree, includes and all, before anything is written out: what tasks wrote comes into it. */
  readonly extend?: (top: Located) => Located;
}

/** A pipeline, or everything that is wrong with the file: never both, and never neither. */
export type ParseResult =
  | { readonly pipeline: Pipeline; readonly problems: readonly [] }
  | { readonly pipeline?: undefined; readonly problems: readonly Problem[] };

/**
 * Reads a pipeline file. All problems come at once, in file order, at most `limits.pipelineProblems` of them; only a file
 * that is not YAML at all shows nothing but that.
 * @param text in TypeScript, what it gave: JSON, which is read like YAML.
 * @param file names the file in problems; it is not read. Those that it includes are named by their paths in the source.
 */
export function parsePipeline(text: string, file: string, options: ParseOptions = {}): ParseResult {
  if (Buffer.byteLength(text) > limits.pipelineFileBytes) {
    const message = `the file is larger than ${limits.pipelineFileBytes} bytes`;
    return { problems: [{ file, line: 1, column: 1, message, hint: "split it into several pipelines" }] };
  }
  const { top, problems: yamlProblems } = readYaml(text, file, isTypeScript(file) ? "paths" : "lines");
  if (top === undefined)
    return {
      problems: arranged(
        yamlProblems.map((problem) => ({ file, ...problem })),
        file,
      ),
    };
  const report = locatedReport(file);
  const whole = applyIncludes(top, file, { readFile: options.readFile, report });
  const expansion = expandPipeline(options.extend?.(whole) ?? whole, options.context ?? noRun, report);
  const atFile = yamlProblems.map((problem) => ({ file, ...problem }));
  if (!expansion.isWhole) return { problems: arranged([...atFile, ...report.problems()], file) };
  const source = locatedSource(expansion.top, file);

  const shape = pipelineShape.safeParse(source.value, { reportInput: true });
  const sizes = sizeProblems(expansion.top);
  const { artifacts, problems: unresolved } =
    sizes.length === 0 ? checkReferences(source, expansion.origins) : { artifacts: new Map(), problems: [] };
  const checked = [...shapeProblems(shape.error?.issues ?? []), ...sizes, ...unresolved].map(
    ({ path, part, message, hint }): Problem => ({
      file,
      ...source.position(path, part),
      message,
      ...(hint === undefined ? {} : { hint }),
    }),
  );
  const expanding = report.problems();
  // Where an expression has no value, that its value has no shape is no news.
  const places = new Set(expanding.map(placeOf));
  const doubts = new Map([...expansion.doubts].map(([at, hint]) => [placeOf({ file, ...positionOf(at, file) }), hint]));
  const placed = checked
    .filter((problem) => !places.has(placeOf(problem)))
    .map((problem) => {
      const hint = doubts.get(placeOf(problem));
      return hint === undefined ? problem : { ...problem, hint };
    });
  const problems = arranged([...atFile, ...expanding, ...placed], file);
  if (problems.length > 0 || !shape.success) return { problems };
  const { origins, params } = expansion;
  return { pipeline: buildPipeline({ shape: shape.data, source, artifacts, file, origins, params }), problems: [] };
}

/** In file order, the pipeline's own file first, without what an alias repeats, and no more than a person reads. */
function arranged(problems: readonly Problem[], mainFile: string): readonly Problem[] {
  const distinct = new Map(problems.map((problem) => [`${placeOf(problem)}:${problem.message}`, problem]));
  const rank = ({ file }: Problem) => (file === mainFile ? "" : file);
  const sorted = [...distinct.values()].sort((a, b) => {
    if (a.file !== b.file) return rank(a) < rank(b) ? -1 : 1;
    return a.line - b.line || a.column - b.column;
  });
  return sorted.slice(0, limits.pipelineProblems).map(readableProblem);
}

/** Checks that are not linear come after this one; how many tasks there are was looked at when they were written out. */
function sizeProblems(top: Located): PathProblem[] {
  const place = { path: ["stages"], part: "key" } as const;
  const stages = entriesOf(memberOf(top, "stages"));
  if (stages.size > limits.runStages) {
    const message = `${stages.size} stages; at most ${limits.runStages} are possible`;
    return [{ ...place, message, hint: "make several pipelines of them" }];
  }
  const needs = [...stages.values()].reduce((sum, { value }) => sum + textsOf(memberOf(value, "needs")).length, 0);
  if (needs <= limits.runStageNeeds) return [];
  const message = `stages need each other ${needs} times; at most ${limits.runStageNeeds} are possible`;
  return [{ ...place, message, hint: "a stage need not name what the stages that it needs need themselves" }];
}
